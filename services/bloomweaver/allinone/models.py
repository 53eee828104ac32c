"""The models of one process: each loaded once, on first need, with a batcher that documents and queries share.

Loading is lazy because a collection may name a model that was not needed at the start; `on_loaded` then begins to work
its change queue.
"""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bloomweaver.domain import models
from bloomweaver.encoding import batcher, figures
from bloomweaver.ports import embedders

OnBatch = Callable[[str, figures.Inference], None]
OpenModel = Callable[[str], Awaitable[embedders.Embedder]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready."""

    spec: models.ModelSpec
    space: str
    batcher: batcher.Batcher


class ModelPool:
    """Open it with `async with`; closes all models at the end.

    on_batch: told the model and what was computed. on_loaded is set by who works the models' queues.
    """

    def __init__(self, open_model: OpenModel, *, on_batch: OnBatch) -> None:
        self._open_model = open_model
        self._on_batch = on_batch
        self._stack = contextlib.AsyncExitStack()
        self._loading = asyncio.Lock()
        self._by_name: dict[str, Loaded] = {}
        self.batchers: dict[str, batcher.Batcher] = {}
        self.on_loaded: Callable[[Loaded], None] = lambda loaded: None

    async def __aenter__(self) -> "ModelPool":
        return self

    async def __aexit__(self, *_: object) -> None:
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
            encoder = await self._stack.enter_async_context(
                batcher.Batcher(embedder, on_batch=functools.partial(self._on_batch, name))
            )
            loaded = Loaded(embedder.spec, embedder.space, encoder)
            self._by_name[name] = loaded
            self.batchers[loaded.space] = encoder
            self.on_loaded(loaded)
            return loaded
