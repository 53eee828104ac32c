"""`mem://`: vectors in dictionaries, for tests and the simulator."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bloomweaver.adapters.vectors import records as checks
from bloomweaver.domain.filters import Filter
from bloomweaver.ports import vectors

_PAGE = 1000


@dataclass(slots=True)
class _Namespace:
    """matrix: the records' vectors in their order, stacked, and names beside it; None after a change."""

    dimension: int
    records: dict[str, vectors.Record] = field(default_factory=dict)
    matrix: vectors.Vector | None = None
    names: list[checks.Name] = field(default_factory=list)


class MemoryVectors:
    """Positions count the upserts of all namespaces, so they also rise where a namespace is dropped and made again."""

    capabilities = vectors.Capabilities(read_barrier=True, list_ids=True, filters=True, max_batch=1000)

    def __init__(self) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._position = 0

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        held = self._namespaces.get(namespace)
        limit = self.capabilities.max_batch
        dimension = checks.check(records, dimension=held.dimension if held else None, max_batch=limit)
        if dimension is not None:
            held = self._namespaces.setdefault(namespace, _Namespace(dimension))
            held.records.update((record.id, record) for record in records)
            held.matrix = None
        self._position += 1
        return self._position

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        held = self._namespaces.get(namespace)
        if held is not None:
            for vector_id in ids:
                if held.records.pop(vector_id, None) is not None:
                    held.matrix = None

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: Filter | None = None
    ) -> vectors.Matches:
        held = self._namespaces.get(namespace)
        if held is None or not held.records:
            return vectors.Matches((), self._position, more=False)
        checks.check_query(vector, dimension=held.dimension)
        if held.matrix is None:
            held.matrix = np.array([record.vector for record in held.records.values()], np.float32)
            held.names = [checks.Name(r.document_id, r.seq, r.index, r.metadata) for r in held.records.values()]
        scores = (held.matrix @ vector).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        matches, more = checks.best(((place, scores[place]) for place in order), held.names, k=k, where=where)
        return vectors.Matches(matches, self._position, more)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        held = self._namespaces.get(namespace)
        return held.records.keys() & ids if held else set()

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        held = self._namespaces.get(namespace)
        names = sorted(name for name in held.records if name.startswith(prefix)) if held else []
        for start in range(0, len(names), _PAGE):
            yield names[start : start + _PAGE]

    async def namespaces(self, prefix: str) -> list[str]:
        return sorted(name for name in self._namespaces if name.startswith(prefix))

    async def drop(self, namespace: str) -> None:
        self._namespaces.pop(namespace, None)
