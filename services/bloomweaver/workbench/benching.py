"""What an embedder reaches on this machine: the rows that `bloomweaver models bench` compares.

Variants take turns, a round each, because a shared machine is not equally quick at all times; a variant's figure is the
median of its rounds, and its ratio the median of the ratios within a round.
"""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bloomweaver.domain import models
from bloomweaver.encoding import batcher
from bloomweaver.ports import embedders
from bloomweaver.workbench import samples

QUERY: Final = "how does a deleted document leave the index"
QUERIES: Final = 40

Pass = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One variant. ratio: to the first variant. of_peak, fill and query_ms are told by our own alone."""

    name: str
    tokens_per_second: float
    chunks_per_second: float
    ratio: float
    fill: float | None = None
    of_peak: float | None = None
    query_p50_ms: float | None = None
    query_p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """Something that embeds all samples in one pass."""

    name: str
    run: Pass
    encoder: batcher.Batcher | None = None


async def compare(
    variants: Sequence[Variant], found: Sequence[samples.Sample], *, rounds: int, clock: Callable[[], float]
) -> list[Figures]:
    """All variants, in turns; the first pass of each warms it up and is not counted. clock: monotonic seconds."""
    tokens = sum(len(sample.passage.ids) for sample in found)
    took: list[list[float]] = []
    for turn in range(rounds + 1):
        seconds = []
        for variant in variants:
            began = clock()
            await variant.run()
            seconds.append(clock() - began)
        if turn:
            took.append(seconds)
    rows = []
    for place, variant in enumerate(variants):
        seconds = [each[place] for each in took]
        middle = statistics.median(seconds)
        rows.append(
            Figures(
                name=variant.name,
                tokens_per_second=tokens / middle,
                chunks_per_second=len(found) / middle,
                ratio=statistics.median(each[0] / each[place] for each in took),
                **(await _own(variant.encoder, clock) if variant.encoder is not None else {}),
            )
        )
    return rows


def ours(name: str, encoder: batcher.Batcher, found: Sequence[samples.Sample]) -> Variant:
    """An embedder of ours behind its batcher, as documents of four passages from concurrent callers."""
    passages = [sample.passage for sample in found]

    async def run() -> None:
        await encoder.encode(passages, kind=models.Kind.DOCUMENT)

    return Variant(name, run, encoder)


def peer(name: str, embed: Callable[[Sequence[str]], object], found: Sequence[samples.Sample]) -> Variant:
    """Another library, as its documentation shows it."""
    texts = [sample.passage.text for sample in found]

    async def run() -> None:
        embed(texts)

    return Variant(name, run)


async def _own(encoder: batcher.Batcher, clock: Callable[[], float]) -> dict[str, float | None]:
    """What only the batcher knows: how full its batches were, the part of the peak, and what a query takes alone."""
    took = []
    for _ in range(QUERIES):
        began = clock()
        await encoder.encode_texts([QUERY], kind=models.Kind.QUERY)
        took.append(1000 * (clock() - began))
    took.sort()
    figures = encoder.figures()[models.Kind.DOCUMENT]
    peak = None
    if isinstance(encoder.embedder, embedders.SelfMeasuring):
        peak = await encoder.embedder.peak_operations_per_second()
    reached = figures.operations_total / figures.busy_seconds_total if figures.busy_seconds_total else 0.0
    return {
        "fill": figures.fill,
        "of_peak": reached / peak if peak else None,
        "query_p50_ms": took[len(took) // 2],
        "query_p95_ms": took[int(len(took) * 0.95)],
    }
