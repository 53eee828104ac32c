"""Embedding models by URL, name or path: opened, described, listed, and made. `opening` offers what stands here."""

import asyncio
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bloomweaver.domain import drift, models
from bloomweaver.ports import embedders

NONE_HOSTED: Final[Mapping[str, str]] = MappingProxyType({})


async def open_embedder(
    model: str,
    *,
    models_dir: pathlib.Path,
    threads: int,
    memory_bytes: int | None = None,
    hosted: Mapping[str, str] = NONE_HOSTED,
) -> embedders.Embedder:
    """A model by URL, name or path, loaded; the caller closes it. `adapters.embedders.loading` has its schemes."""
    from bloomweaver.adapters.embedders import loading

    wishes = loading.Wishes(models_dir=models_dir, threads=threads, memory_bytes=memory_bytes)
    return await loading.open_with(model, wishes, hosted=hosted)


async def open_unproven(
    model: str, *, models_dir: pathlib.Path, threads: int, exact: bool = False
) -> embedders.Embedder:
    """The same, for who measures a quantised model before it is admitted. exact: without its integers, in fp32."""
    from bloomweaver.adapters.embedders import loading

    wishes = loading.Wishes(
        models_dir=models_dir, threads=threads, proven=False, exact=exact, arithmetic="fp32" if exact else None
    )
    return await loading.open_with(model, wishes)


async def build_int8(
    model: str, *, models_dir: pathlib.Path, name: str, passages: Sequence[embedders.Passage]
) -> pathlib.Path:
    """A quantised copy of a model as `name` in the models directory, calibrated on passages of its later use."""
    from bloomweaver.adapters.embedders import loading, quantising

    spec, source = await asyncio.to_thread(loading.located, model, models_dir=models_dir)
    into = models_dir / name
    await asyncio.to_thread(quantising.build, source, into, spec, passages)
    return into


async def open_peer(name: str, model: str, *, models_dir: pathlib.Path) -> Callable[[Sequence[str]], object]:
    """Another library with the files of a model, to compare with; Refusal where it is not known or not installed."""
    from bloomweaver.adapters.embedders import loading, peers

    _, directory = await asyncio.to_thread(loading.located, model, models_dir=models_dir)
    return peers.opened(name, directory)


async def record_drift(model: str, *, models_dir: pathlib.Path, found: drift.Drift) -> pathlib.Path:
    """Keep what a quantised model was measured to cost beside it."""
    from bloomweaver.adapters.embedders import loading, precision

    spec, directory = await asyncio.to_thread(loading.located, model, models_dir=models_dir)
    return precision.record(directory, spec, found)


async def resolved_model(
    name: str, *, models_dir: pathlib.Path, hosted: Mapping[str, str] = NONE_HOSTED
) -> tuple[models.ModelSpec, str]:
    """What a model is, and its space, without loading it. Hashes the files of one that is not in the table."""
    from bloomweaver.adapters.embedders import loading

    spec = await asyncio.to_thread(loading.described, name, models_dir=models_dir, hosted=hosted)
    return spec, models.space_of(spec)


def listed_models(
    *, models_dir: pathlib.Path, hosted: Mapping[str, str] = NONE_HOSTED
) -> list[tuple[models.ModelSpec, str]]:
    """Every model that a name stands for, and whether its files are there."""
    from bloomweaver.adapters.embedders import loading

    return [(line.spec, str(line.state)) for line in loading.listing(models_dir=models_dir, hosted=hosted)]
