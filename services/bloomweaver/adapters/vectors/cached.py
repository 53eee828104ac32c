"""A vector store whose candidates are remembered for a moment; what is shown is still decided by the ledger (R14).

Only answers that carry a position are remembered, because only they can be known to be old. Beside them stands, per
namespace, the highest position that was written; an answer is given again only if it has seen that. Invariant: through
the cache a search sees nothing that it could not have got from a reader of the store that had come so far.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence

import numpy as np

from bloomweaver.domain import filters
from bloomweaver.ports import caches, vectors

CANDIDATES_SECONDS = 5.0
"""How long an answer may be given again. A writer that could not say that it wrote holds up searches no longer."""
POSITION_SECONDS = 86_400.0


class CachedVectors:
    """Wraps a store; the cache may go at any time."""

    def __init__(
        self, inner: vectors.Vectors, cache: caches.Cache, *, candidates_seconds: float = CANDIDATES_SECONDS
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._candidates_seconds = candidates_seconds
        self.capabilities = inner.capabilities

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        position = await self._inner.upsert(namespace, records)
        if position is not None:
            await self._cache.raise_to(_position_key(namespace), position, seconds=POSITION_SECONDS)
        return position

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        await self._inner.delete(namespace, ids)

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: filters.Filter | None = None
    ) -> vectors.Matches:
        place, asked = _position_key(namespace), _question_key(namespace, vector, k=k, where=where)
        written, held = await self._cache.get([place, asked])
        known = _read(held) if held is not None and written is not None else None
        if known is not None and known.position is not None and known.position >= int(written or 0):
            return known
        fresh = await self._inner.query(namespace, vector, k=k, where=where)
        if fresh.position is None:
            return fresh
        if written is None:
            await self._cache.raise_to(place, fresh.position, seconds=POSITION_SECONDS)
        if fresh.position >= int(written or 0):
            await self._cache.put({asked: _written(fresh)}, seconds=self._candidates_seconds)
        return fresh

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        return await self._inner.present(namespace, ids)

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        async for page in self._inner.ids(namespace, prefix=prefix):
            yield page

    async def namespaces(self, prefix: str) -> list[str]:
        return await self._inner.namespaces(prefix)

    async def drop(self, namespace: str) -> None:
        await self._inner.drop(namespace)


def _position_key(namespace: str) -> str:
    return f"bloomweaver/{namespace}/position"


def _question_key(namespace: str, vector: vectors.Vector, *, k: int, where: filters.Filter | None) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(vector, "<f4").tobytes())
    digest.update(b"" if where is None else filters.to_json(where).encode())
    return f"bloomweaver/{namespace}/candidates/{k}/{digest.hexdigest()}"


def _written(answer: vectors.Matches) -> bytes:
    matches = [[match.document_id, match.seq, match.index, match.score] for match in answer.matches]
    return json.dumps([answer.position, answer.more, matches], separators=(",", ":")).encode()


def _read(value: bytes) -> vectors.Matches | None:
    """None for what another release wrote."""
    try:
        position, more, matches = json.loads(value)
        found = tuple(vectors.Match(document_id, seq, index, score) for document_id, seq, index, score in matches)
    except (ValueError, TypeError):
        return None
    return vectors.Matches(found, position, more)
