"""A batcher that remembers vectors for a while, so that work that is done again after a crash costs no inference.

The key is whose text it is, the space, the kind and the text's digest: tenants share nothing, not even the time that an
answer takes. Vectors are kept no longer than those of a deleted document may be.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bloomweaver.domain import errors, models
from bloomweaver.encoding import batcher, lanes
from bloomweaver.ports import caches, embedders, opened

KEPT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Memory:
    """A cache, and whose part of it."""

    cache: caches.Cache
    deployment: str


def memory_of(ports: opened.Ports) -> Memory | None:
    """The memory of a process that has a cache."""
    return Memory(ports.cache, ports.deployment) if ports.cache is not None else None


class RememberingBatcher(batcher.Batcher):
    """Work that has no owner is not remembered."""

    def __init__(
        self,
        embedder: embedders.Embedder,
        memory: Memory,
        *,
        limits: batcher.Limits | None = None,
        on_batch: lanes.OnBatch = lambda inference: None,
    ) -> None:
        super().__init__(embedder, limits=limits, on_batch=on_batch)
        self._memory = memory

    async def _run(
        self,
        passages: Sequence[embedders.Passage],
        failures: Mapping[int, errors.WorkError],
        *,
        kind: models.Kind,
        owner: str,
        wait: bool,
    ) -> batcher.Encoded:
        if not owner or not passages:
            return await super()._run(passages, failures, kind=kind, owner=owner, wait=wait)
        dimension = self.embedder.spec.dimension
        keys = [self._key(passage.text, kind=kind, owner=owner) for passage in passages]
        held = await self._memory.cache.get(keys)
        known = {
            index: np.frombuffer(value, "<f4")
            for index, value in enumerate(held)
            if value is not None and len(value) == 4 * dimension and index not in failures
        }
        rest = [index for index in range(len(passages)) if index not in known]
        fresh = await super()._run(
            [passages[index] for index in rest],
            {place: failures[index] for place, index in enumerate(rest) if index in failures},
            kind=kind,
            owner=owner,
            wait=wait,
        )
        vectors = np.empty((len(passages), dimension), np.float32)
        for index, vector in known.items():
            vectors[index] = vector
        for place, index in enumerate(rest):
            vectors[index] = fresh.vectors[place]
        computed = {
            keys[index]: np.ascontiguousarray(fresh.vectors[place], "<f4").tobytes()
            for place, index in enumerate(rest)
            if place not in fresh.failures and np.isfinite(fresh.vectors[place]).all()
        }
        await self._memory.cache.put(computed, seconds=KEPT_SECONDS)
        failed = {rest[place]: error for place, error in fresh.failures.items()}
        return batcher.Encoded(vectors, failed, tuple(len(passage.ids) for passage in passages))

    def _key(self, text: str, *, kind: models.Kind, owner: str) -> str:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        return f"bloomweaver/{self._memory.deployment}/{owner}/embeddings/{self.embedder.space}/{kind}/{digest}"
