"""The models of one process: each loaded once, on first need, with a batcher that documents and queries share.

Loading is lazy because a collection may name a model that was not needed at the start; where documents are embedded
too, `on_loaded` then begins to work its change queue.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bloomweaver.domain import models
from bloomweaver.domain.errors import BloomWeaverError
from bloomweaver.encoding import batcher, figures, remembering
from bloomweaver.ports import embedders, registry

HOSTED: Final = batcher.Limits(budget_tokens=65_536, batch_seconds=30.0, bulk_seconds=30.0)
"""Of a model elsewhere: no query waits on the same cores, and it is the service that is quick or slow."""

OpenModel = Callable[[str], Awaitable[embedders.Embedder]]


class OnBatch(Protocol):
    """Is told what was computed, after each inference."""

    def __call__(
        self,
        model: str,
        device: str,
        lane: str,
        /,
        *,
        chunks: int,
        tokens: int,
        padded: int,
        seconds: float,
        wait_seconds: float,
        peak_ratio: float | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready."""

    spec: models.ModelSpec
    space: str
    batcher: batcher.Batcher


class ModelPool:
    """Open it with `async with`; closes all models at the end.

    on_loaded is set by who works the models' queues. memory: where embeddings are remembered, None for nowhere.
    """

    def __init__(self, open_model: OpenModel, *, on_batch: OnBatch, memory: remembering.Memory | None = None) -> None:
        self._memory = memory
        self._open_model = open_model
        self._on_batch = on_batch
        self._stack = contextlib.AsyncExitStack()
        self._loading = asyncio.Lock()
        self._by_name: dict[str, Loaded] = {}
        self._peaks: dict[str, asyncio.Task[float | None]] = {}
        self.batchers: dict[str, batcher.Batcher] = {}
        self.on_loaded: Callable[[Loaded], None] = lambda loaded: None

    async def __aenter__(self) -> "ModelPool":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._peaks.values(), return_exceptions=True)
        await self._stack.aclose()

    def loaded(self) -> dict[str, Loaded]:
        """The models that are ready, by the name that collections use."""
        return dict(self._by_name)

    async def load(self, name: str) -> Loaded:
        """The model of that name or path. Refusal(MODEL_NOT_FOUND) or ConfigurationError say why it cannot be."""
        async with self._loading:
            known = self._by_name.get(name)
            if known is not None:
                return known
            embedder = await self._open_model(name)
            self._stack.push_async_callback(embedder.aclose)
            told = functools.partial(self._computed, name)
            limits = HOSTED if embedder.spec.source.origin is models.Origin.SERVICE else None
            encoder = await self._stack.enter_async_context(
                remembering.RememberingBatcher(embedder, self._memory, limits=limits, on_batch=told)
                if self._memory is not None
                else batcher.Batcher(embedder, limits=limits, on_batch=told)
            )
            loaded = Loaded(embedder.spec, embedder.space, encoder)
            self._by_name[name] = loaded
            self.batchers[loaded.space] = encoder
            self.on_loaded(loaded)
            return loaded

    def _computed(self, model: str, inference: figures.Inference) -> None:
        self._on_batch(
            model,
            "cpu",
            str(inference.kind),
            chunks=inference.passages,
            tokens=inference.tokens,
            padded=inference.padded,
            seconds=inference.seconds,
            wait_seconds=inference.wait_seconds,
            peak_ratio=self._peak_ratio(model, inference),
        )

    def _peak_ratio(self, model: str, inference: figures.Inference) -> float | None:
        """Once the peak is known. It is measured after the first documents: a cold start does not wait for it."""
        if inference.kind is not models.Kind.DOCUMENT or not inference.seconds or model not in self._by_name:
            return None
        measuring = self._peaks.get(model)
        if measuring is None:
            embedder = self._by_name[model].batcher.embedder
            if isinstance(embedder, embedders.SelfMeasuring):
                self._peaks[model] = asyncio.create_task(embedder.peak_operations_per_second(), name="peak")
            return None
        if not measuring.done() or measuring.exception() is not None or not (peak := measuring.result()):
            return None
        return inference.operations / inference.seconds / peak


@contextlib.asynccontextmanager
async def begun(open_model: OpenModel, name: str) -> AsyncIterator[OpenModel]:
    """`open_model` with this model already under way, while what else a start needs is opened and imported.

    It is closed at the end if nobody asked for it.
    """
    waiting = {name: asyncio.ensure_future(open_model(name))}

    async def opened_before(wanted: str) -> embedders.Embedder:
        task = waiting.pop(wanted, None)
        return await (task or open_model(wanted))

    await asyncio.sleep(0)  # so that the thread has it
    try:
        yield opened_before
    finally:
        for task in waiting.values():
            with contextlib.suppress(BloomWeaverError):
                await (await task).aclose()


@dataclass(frozen=True, slots=True)
class Unusable:
    """A model that a collection is kept in and that cannot be worked with here. detail: why, and what to do."""

    model: str
    detail: str


async def load_used(pool: ModelPool, registry: registry.Registry) -> dict[str, Unusable]:
    """Load every model that some collection is kept in, or is being moved to.

    Gives the spaces that cannot be worked in: a model that is gone, or another one than the stored vectors are of,
    keeps its own collections waiting and nobody else's.
    """
    unusable: dict[str, Unusable] = {}
    for collection in await registry.collections():
        generation = await registry.generation(collection.uid)
        for pipeline in generation.pipelines if generation else ():
            try:
                spec = (await pool.load(pipeline.model)).spec
                models.require_stored(spec, space=pipeline.space, dimension=spec.dimension)
            except BloomWeaverError as error:
                unusable[pipeline.space] = Unusable(pipeline.model, error.detail)
    return unusable
