"""The composition root of work on model files: `bloomweaver models bench`, `build` and `verify`. It serves nothing."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bloomweaver.adapters import opening
from bloomweaver.domain import drift, errors, models, reasons
from bloomweaver.encoding import batcher, threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import logs
from bloomweaver.workbench import benching, quality, samples

CALIBRATION_TEXTS = 300
SUFFIX = "-int8"


@dataclass(frozen=True, slots=True)
class Texts:
    """What is measured with: a folder, or chunks with their headings that somebody fetched."""

    folder: Path | None = None
    chunks: Iterable[tuple[str, Sequence[str]]] = ()

    def read(self, embedder: embedders.Embedder, *, most: int) -> list[samples.Sample]:
        """At most so many."""
        if self.folder is not None:
            return samples.of_folder(self.folder, embedder, most=most)
        return samples.of_chunks(self.chunks, embedder, most=most)


@contextlib.asynccontextmanager
async def opened(model: str, *, models_dir: Path, exact: bool = False) -> AsyncIterator[embedders.Embedder]:
    """A model on all cores that this process may use, verified or not. exact: all of it in fp32."""
    logs.configure(form=logs.form_of("auto", sys.stderr), level="warning", stream=sys.stderr)
    embedder = await opening.open_unproven(model, models_dir=models_dir, threads=cores(), exact=exact)
    try:
        yield embedder
    finally:
        await embedder.aclose()


def cores() -> int:
    """Those that this process may use."""
    return threads.available(len(os.sched_getaffinity(0)))


async def build(model: str, *, models_dir: Path, texts: Texts) -> Path:
    """An int8 copy of a model, as `MODEL-int8` in the models directory. It is refused until it was verified."""
    async with opened(model, models_dir=models_dir) as embedder:
        passages = [sample.passage for sample in texts.read(embedder, most=CALIBRATION_TEXTS)]
    name = f"{embedder.spec.name}{SUFFIX}"
    return await opening.build_int8(model, models_dir=models_dir, name=name, passages=passages)


async def verify(model: str, *, models_dir: Path, texts: Texts, most: int) -> tuple[drift.Drift, Path]:
    """Measure a quantised model against its own exact weights in fp32, and keep the figures beside it."""
    async with opened(model, models_dir=models_dir) as embedder:
        if embedder.spec.precision is not models.Precision.INT8:
            detail = f"{model} computes exactly, so there is nothing to verify. `bloomweaver models build` makes int8."
            raise errors.Refusal(reasons.Reason.INVALID_REQUEST, detail)
        found = texts.read(embedder, most=most)
        asked = samples.questions(found, most=most)
        cheaper = await quality.vectors_of(embedder, found, asked)
    async with opened(model, models_dir=models_dir, exact=True) as embedder:
        exact = await quality.vectors_of(embedder, found, asked)
    measured = quality.drift_of(exact, cheaper.documents, asked)
    return measured, await opening.record_drift(model, models_dir=models_dir, found=measured)


async def bench(
    names: Sequence[str], *, models_dir: Path, texts: Texts, against: Sequence[str], most: int, rounds: int
) -> list[benching.Figures]:
    """The models, and other libraries with the first one's files, in turns."""
    async with contextlib.AsyncExitStack() as stack:
        variants: list[benching.Variant] = []
        found: list[samples.Sample] = []
        for name in names:
            embedder = await stack.enter_async_context(opened(name, models_dir=models_dir))
            found = found or texts.read(embedder, most=most)
            encoder = await stack.enter_async_context(batcher.Batcher(embedder))
            variants.append(benching.ours(name, encoder, found))
        for name in against:
            embed = await opening.open_peer(name, names[0], models_dir=models_dir)
            variants.append(benching.peer(name, embed, found))
        return await benching.compare(variants, found, rounds=rounds, clock=opening.system_clock().monotonic)
