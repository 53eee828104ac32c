"""Vectors in PostgreSQL by pgvector: a table per namespace, scanned exactly while small, by HNSW when it has grown.

Invariants: a query that returns position p has seen every upsert that was given p or less, because a writer takes its
position after its commit and a reader looks before its snapshot; a filter never costs matches, because where the index
gave up before it had enough, the table is scanned. What is remembered of a namespace is only where its table is: one
that was dropped, or made again by another process, is noticed by its table being gone.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import psycopg

from bloomweaver.adapters.engines import speaking
from bloomweaver.adapters.engines.postgresql import engine as engines
from bloomweaver.adapters.vectors import postgresql_binary as binary
from bloomweaver.adapters.vectors import postgresql_filters, postgresql_tables
from bloomweaver.adapters.vectors import records as checks
from bloomweaver.domain import errors
from bloomweaver.domain.filters import Filter
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors

PAGE_ROWS = 1000
PAGE_BYTES = 8192
REMEMBERED = 10_000
TRIES = 3
LEAST_EF_SEARCH, LEAST_FILTERED_EF_SEARCH, MOST_EF_SEARCH = 200, 400, 1000
"""A filter leaves an index less to choose from: it has to look around more widely to find the best."""

SPARE_MATCHES = 40
"""An index finds the best of many better than of few: so many more than are wanted are asked for. Where it does not
find these either, a filter lets few through, and what it found is a chance sample of them."""

MATCHES_LIKE_A_SCAN = 160
"""Finding so many matches by an index takes as long as scanning `exact_bytes`."""

T = TypeVar("T")

_POSITION = "SELECT last_value FROM vector_position"
_NEXT_POSITION = "SELECT nextval('vector_position')"
_FIND = "SELECT id, dimension FROM vector_namespace WHERE name = %(name)s"
_NAMES = (
    "SELECT name FROM vector_namespace WHERE name >= %(prefix)s AND name < %(prefix)s || chr(1114111) ORDER BY name"
)
_UPSERT = (
    "INSERT INTO {table} AS held (id, document_id, seq, idx, metadata, embedding)"
    " SELECT * FROM unnest(%(ids)s::text[], %(documents)s::text[], %(seqs)s::bigint[], %(indexes)s::integer[],"
    " %(metadata)s::jsonb[], %(embeddings)s::vector[])"
    " ON CONFLICT (id) DO UPDATE SET document_id = excluded.document_id, seq = excluded.seq, idx = excluded.idx,"
    " metadata = excluded.metadata, embedding = excluded.embedding"
    " WHERE held.embedding <> excluded.embedding OR held.metadata <> excluded.metadata"
)
_DELETE = "DELETE FROM {table} WHERE id = ANY (%(ids)s::text[]) RETURNING 1"
_PRESENT = "SELECT id FROM {table} WHERE id = ANY (%(ids)s::text[])"
_IDS = (
    "SELECT id FROM {table} WHERE id > %(after)s AND id >= %(prefix)s AND id < %(prefix)s || chr(1114111)"
    " ORDER BY id LIMIT %(limit)s"
)
# A filter that lets few through makes the index give up when a scan would have taken as long, and then the table is
# scanned: a page of it takes as long as a sixth of a tuple by the index.
_PREPARE = (
    "SELECT (SELECT last_value FROM vector_position), uses_index,"
    " set_config('enable_indexscan', CASE WHEN uses_index THEN 'on' ELSE 'off' END, true),"
    " set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %(ef)s, true),"
    " set_config('hnsw.max_scan_tuples', greatest(1000, least(pages / 6, 1000000))::text, true),"
    " set_config('work_mem', '16MB', true)"
    f" FROM (SELECT pg_relation_size(to_regclass(%(table)s)) / {PAGE_BYTES} AS pages) size,"
    " LATERAL (SELECT NOT %(scans)s AND pages > %(scanned_pages)s"
    " AND to_regclass(%(table)s || '_hnsw') IS NOT NULL AS uses_index) decided"
)
_QUERY = (
    "SELECT document_id, seq, idx, 1 - (embedding <=> %(vector)s::vector) FROM {table} WHERE {where}"
    " ORDER BY embedding <=> %(vector)s::vector LIMIT %(limit)s"
)


class _Namespace(NamedTuple):
    number: int
    dimension: int

    @property
    def table(self) -> str:
        return f"vectors_{self.number}"


class _Found(NamedTuple):
    position: int
    by_index: bool
    rows: list[engines.Record]


class PostgresqlVectors:
    """exact_bytes: up to this size a namespace's table is scanned. Beyond it gets an index, when it has been calm for
    `calm_seconds`. Close it: it may be making one."""

    capabilities = vectors.Capabilities(read_barrier=True, list_ids=True, filters=True, max_batch=1000)

    def __init__(
        self,
        engine: engines.Engine,
        *,
        exact_bytes: int = postgresql_tables.EXACT_BYTES,
        calm_seconds: float = postgresql_tables.CALM_SECONDS,
    ) -> None:
        self._engine = engine
        self._exact_bytes = exact_bytes
        self._tables = postgresql_tables.Tables(engine, exact_bytes=exact_bytes, calm_seconds=calm_seconds)
        self._known: dict[str, _Namespace] = {}

    async def aclose(self) -> None:
        """An index that is being made is given up; the next writer begins again."""
        await self._tables.aclose()

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        dimension = checks.check(records, dimension=None, max_batch=self.capabilities.max_batch)
        if dimension is not None:
            await self._store(namespace, records, dimension=dimension)
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            return int((await self._engine.fetch(_NEXT_POSITION))[0][0])

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        doomed, limit = sorted(set(ids)), self.capabilities.max_batch  # sorted: two deleters of the same never deadlock
        for start in range(0, len(doomed), limit):
            await self._ask(namespace, _DELETE, ids=doomed[start : start + limit])

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: Filter | None = None
    ) -> vectors.Matches:
        async def search(known: _Namespace | None) -> _Found:
            if known is None:
                return _Found(int((await self._engine.fetch(_POSITION))[0][0]), by_index=False, rows=[])
            checks.check_query(vector, dimension=known.dimension)
            found = await self._search(known, vector, k=k, where=where)
            if found.by_index and len(found.rows) < _asked_for(k):
                return await self._search(known, vector, k=k, where=where, scans=True)
            return found

        found = await self._at_table(namespace, search)
        matches = [vectors.Match(document_id, seq, idx, _score(score)) for document_id, seq, idx, score in found.rows]
        matches.sort(key=lambda match: -match.score)  # the index gives them in about that order
        return vectors.Matches(tuple(matches[:k]), found.position, more=len(matches) > k)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        return {row[0] for row in await self._ask(namespace, _PRESENT, ids=list(ids))}

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        after = ""
        while True:
            rows = await self._ask(namespace, _IDS, prefix=prefix, after=after, limit=PAGE_ROWS)
            if rows:
                yield [row[0] for row in rows]
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1][0]

    async def namespaces(self, prefix: str) -> list[str]:
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            return [row[0] for row in await self._engine.fetch(_NAMES, {"prefix": prefix})]

    async def drop(self, namespace: str) -> None:
        self._known.pop(namespace, None)
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            await self._tables.drop(namespace)

    async def _store(self, namespace: str, records: Sequence[vectors.Record], *, dimension: int) -> None:
        values = _columns(records, element_oid=await self._tables.vector_oid())

        async def store(known: _Namespace | None) -> None:
            if known is None:
                known = self._remember(namespace, *await self._tables.make(namespace, dimension=dimension))
            if known.dimension != dimension:
                detail = f"the vectors have {dimension} dimensions, the namespace has {known.dimension}"
                raise errors.PermanentError(Reason.STORE_REFUSED, detail)
            statement = _UPSERT.format(table=known.table)

            async def insert(tx: engines.Transaction) -> None:
                binary.understood(tx.connection)
                await tx.run(statement, values)

            await self._engine.run(insert)
            self._tables.grew(known.table, by=len(records))

        await self._at_table(namespace, store)

    async def _search(
        self, known: _Namespace, vector: vectors.Vector, *, k: int, where: Filter | None, scans: bool = False
    ) -> _Found:
        condition, values = postgresql_filters.condition(where)
        statement = _QUERY.format(table=known.table, where=condition)
        values |= {"vector": binary.vector(vector), "limit": _asked_for(k)}
        least_ef_search = LEAST_EF_SEARCH if where is None else LEAST_FILTERED_EF_SEARCH
        ef_search = min(MOST_EF_SEARCH, max(least_ef_search, 2 * k))
        scanned_pages = int(self._exact_bytes / PAGE_BYTES * (1 + k / MATCHES_LIKE_A_SCAN))
        prepare = {"table": known.table, "ef": str(ef_search), "scans": scans, "scanned_pages": scanned_pages}

        async def search(tx: engines.Transaction) -> _Found:
            binary.understood(tx.connection)
            async with tx.connection.pipeline():
                prepared = await tx.connection.execute(_PREPARE.encode(), prepare)
                found = await tx.connection.execute(statement.encode(), values)
                state = await prepared.fetchone()
                assert state is not None
                return _Found(int(state[0]), bool(state[1]), await found.fetchall())

        # Not a read of one moment: the position has to be read before the moment that the rows are of.
        return await self._engine.run(search)

    async def _ask(self, namespace: str, statement: str, **values: object) -> Sequence[engines.Record]:
        """Rows of the namespace's table; none where there is no such namespace."""

        async def ask(known: _Namespace | None) -> Sequence[engines.Record]:
            return [] if known is None else await self._engine.fetch(statement.format(table=known.table), values)

        return await self._at_table(namespace, ask)

    async def _at_table(self, namespace: str, work: Callable[[_Namespace | None], Awaitable[T]]) -> T:
        """The work, again where the table is gone: the namespace was dropped, or dropped and made again, since."""
        with speaking.unavailable_as(Reason.VECTORS_UNAVAILABLE):
            for tried in range(1, TRIES + 1):
                known = await self._find(namespace)
                try:
                    return await work(known)
                except errors.ConfigurationError as error:
                    if tried == TRIES or not isinstance(error.__cause__, psycopg.errors.UndefinedTable):
                        raise
                    if known is not None and self._known.get(namespace) == known:
                        self._known.pop(namespace)
        raise AssertionError("the last try returns or raises")

    async def _find(self, namespace: str) -> _Namespace | None:
        known = self._known.get(namespace)
        if known is None:
            rows = await self._engine.fetch(_FIND, {"name": namespace})
            return self._remember(namespace, *rows[0]) if rows else None
        return known

    def _remember(self, namespace: str, number: int, dimension: int) -> _Namespace:
        if len(self._known) >= REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[namespace] = _Namespace(number, dimension)
        return self._known[namespace]


def _columns(records: Sequence[vectors.Record], *, element_oid: int) -> dict[str, object]:
    """The records by column. One of each id, in their order, so that two writers of the same never deadlock."""
    rows = sorted({record.id: record for record in records}.values(), key=lambda record: record.id)
    return {
        "ids": [record.id for record in rows],
        "documents": [record.document_id for record in rows],
        "seqs": [record.seq for record in rows],
        "indexes": [record.index for record in rows],
        "metadata": [json.dumps(dict(record.metadata), ensure_ascii=False) for record in rows],
        "embeddings": binary.array([record.vector for record in rows], element_oid=element_oid),
    }


def _asked_for(k: int) -> int:
    """How many matches show that there are more than k, and which of them are the best."""
    return k + 1 + SPARE_MATCHES


def _score(score: float) -> float:
    """A vector of norm 0 has no direction, and no cosine."""
    return 0.0 if np.isnan(score) else min(1.0, max(-1.0, score))
