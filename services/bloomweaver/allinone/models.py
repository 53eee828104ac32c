"""The models of one process: each loaded once, on first need, with a batcher that documents and queries share.

Loading is lazy because a collection may name a model that was not needed at the start; `on_loaded` then begins to work
its change queue.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bloomweaver.adapters import opening
from bloomweaver.domain import models
from bloomweaver.encoding import batcher


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready."""

    spec: models.ModelSpec
    space: str
    batcher: batcher.Batcher


class ModelPool:
    """Open it with `async with`; closes all models at the end."""

    def __init__(self, *, models_dir: Path, threads: int, on_loaded: Callable[[Loaded], None]) -> None:
        self._models_dir = models_dir
        self._threads = threads
        self._on_loaded = on_loaded
        self._stack = contextlib.AsyncExitStack()
        self._loading = asyncio.Lock()
        self._by_name: dict[str, Loaded] = {}
        self.batchers: dict[str, batcher.Batcher] = {}

    async def __aenter__(self) -> "ModelPool":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def loaded(self) -> list[Loaded]:
        """The models that are ready."""
        return list(self._by_name.values())

    async def load(self, name: str) -> Loaded:
        """The model of that name or path. Refusal(MODEL_NOT_FOUND) or ConfigurationError say why it cannot be."""
        async with self._loading:
            known = self._by_name.get(name)
            if known is not None:
                return known
            embedder = await opening.open_embedder(name, models_dir=self._models_dir, threads=self._threads)
            self._stack.push_async_callback(embedder.aclose)
            encoder = await self._stack.enter_async_context(batcher.Batcher(embedder))
            loaded = Loaded(embedder.spec, embedder.space, encoder)
            self._by_name[name] = loaded
            self.batchers[loaded.space] = encoder
            self._on_loaded(loaded)
            return loaded
