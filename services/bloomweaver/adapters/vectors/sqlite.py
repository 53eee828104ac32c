"""Vectors in the ledger's SQLite file: the rows are the truth, a query scans all of a namespace exactly, in memory.

A namespace's matrix is read at its first query. Before each query the namespace's newest position is compared with what
the matrix has seen, and what changed since, in this process or another, is read. Invariant: a query that returns
position p has seen every upsert that was given p or less.
"""

import asyncio
import collections
import concurrent.futures
import functools
import json
from collections.abc import AsyncIterator, Sequence

import numpy as np

from bloomweaver.adapters.engines import speaking
from bloomweaver.adapters.engines.sqlite import engine as engines
from bloomweaver.adapters.vectors import matrix as matrices
from bloomweaver.adapters.vectors import records as checks
from bloomweaver.adapters.vectors import statements
from bloomweaver.domain.filters import Filter
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors

CACHE_BYTES = 1024 * 1024 * 1024
INLINE_FLOATS = 512 * 1024
SCANS = 2


class SqliteVectors:
    """cache_bytes: how much the matrices of the namespaces queried last may take; the one in use is always held."""

    capabilities = vectors.Capabilities(read_barrier=True, list_ids=True, filters=True, max_batch=1000)

    def __init__(self, engine: engines.Engine, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._engine = engine
        self._cache_bytes = cache_bytes
        self._matrices: collections.OrderedDict[str, matrices.Matrix] = collections.OrderedDict()
        self._reading: dict[str, asyncio.Lock] = {}
        self._threads = concurrent.futures.ThreadPoolExecutor(SCANS, thread_name_prefix="vector-scan")

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        dimension = checks.check(records, dimension=None, max_batch=self.capabilities.max_batch)
        rows = [statements.row_of(record) for record in records]
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            return await self._engine.write(
                lambda connection: statements.upsert(connection, namespace, dimension=dimension, rows=rows)
            )

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        limit = self.capabilities.max_batch
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            for start in range(0, len(ids), limit):
                part = json.dumps(ids[start : start + limit])
                await self._engine.write(functools.partial(statements.delete, namespace=namespace, ids_json=part))

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: Filter | None = None
    ) -> vectors.Matches:
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            state = await self._engine.read(lambda connection: statements.state(connection, namespace))
            matrix = await self._current(namespace, state)
        if matrix is None:
            return vectors.Matches((), state.position, more=False)
        checks.check_query(vector, dimension=matrix.dimension)
        if matrix.dimension * len(matrix.names) <= INLINE_FLOATS:
            matches, more = _scan(matrix, vector, k=k, where=where)
        else:
            scan = functools.partial(_scan, matrix, vector, k=k, where=where)
            matches, more = await asyncio.get_running_loop().run_in_executor(self._threads, scan)
        return vectors.Matches(matches, state.position, more)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        wanted = json.dumps(list(ids))
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            return await self._engine.read(lambda connection: statements.present(connection, namespace, wanted))

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        after = ""
        while True:
            with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
                page = await self._engine.read(
                    functools.partial(statements.ids, namespace=namespace, prefix=prefix, after=after)
                )
            if not page:
                return
            yield page
            after = page[-1]

    async def namespaces(self, prefix: str) -> list[str]:
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            return await self._engine.read(lambda connection: statements.namespaces(connection, prefix))

    async def drop(self, namespace: str) -> None:
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            while await self._engine.write(lambda connection: statements.drop_some(connection, namespace)):
                pass
        self._matrices.pop(namespace, None)

    def close(self) -> None:
        """Ends the threads and frees the matrices."""
        self._threads.shutdown()
        self._matrices.clear()

    async def _current(self, namespace: str, state: statements.State) -> matrices.Matrix | None:
        """The matrix, having seen at least `state`."""
        if state.namespace is None:
            self._matrices.pop(namespace, None)
            return None
        if (matrix := self._held(namespace, state)) is not None:
            return matrix
        async with self._reading.setdefault(namespace, asyncio.Lock()):
            if (matrix := self._held(namespace, state)) is not None:
                return matrix
            matrix = self._matrices.get(namespace)
            if matrix is not None and await self._follow(namespace, matrix):
                return matrix
            # Read whole on the reading thread and swapped in, so that scans of the old one go on undisturbed.
            matrix = await self._engine.read(lambda connection: statements.load(connection, namespace))
            self._keep(namespace, matrix)
            return matrix

    async def _follow(self, namespace: str, matrix: matrices.Matrix) -> bool:
        """Take over the few changes since the matrix was read; False where reading it anew is the better way."""
        if matrix.is_sparse:
            return False
        since = matrix.seen
        changes = await self._engine.read(lambda connection: statements.changes(connection, namespace, since=since))
        if changes is None or changes.namespace != matrix.namespace:
            return False
        matrix.remove(changes.removed)
        matrix.append(changes.rows)
        matrix.seen = changes.position
        return True

    def _held(self, namespace: str, state: statements.State) -> matrices.Matrix | None:
        matrix = self._matrices.get(namespace)
        if matrix is None or matrix.seen < state.changed:
            return None
        self._matrices.move_to_end(namespace)
        return matrix

    def _keep(self, namespace: str, matrix: matrices.Matrix | None) -> None:
        """Hold it as the one used last, and let go of those used longest ago, down to the limit."""
        self._matrices.pop(namespace, None)
        if matrix is None:
            return
        self._matrices[namespace] = matrix
        total = sum(held.size_bytes for held in self._matrices.values())
        while total > self._cache_bytes and len(self._matrices) > 1:
            total -= self._matrices.popitem(last=False)[1].size_bytes


def _scan(
    matrix: matrices.Matrix, vector: vectors.Vector, *, k: int, where: Filter | None
) -> tuple[tuple[vectors.Match, ...], bool]:
    scores = matrix.scores(np.asarray(vector, np.float32))
    narrow = functools.partial(matrix.passing, where, len(scores)) if where is not None else None
    return checks.best(matrices.ranked(scores, wanted=k, narrow=narrow), matrix.names, k=k, where=where)
