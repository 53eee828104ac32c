"""The tables of namespaces: made with the first upsert, indexed when they have grown, dropped with the namespace.

Invariants: a namespace's row and its table come and go in one transaction, under a lock on its name; an index is made
beside running writers and readers (CONCURRENTLY), by one process at a time, and one that was left half made is made
again. Nothing waits for an index: without it a query scans.
"""

import asyncio
import contextlib
from collections import Counter

import psycopg

from bloomweaver.adapters.engines.postgresql import engine as engines
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

EXACT_BYTES = 32 * 1024 * 1024
"""About 16,000 vectors of 384 dimensions: they are scanned in 30 ms, and an insert into an index costs 3 ms."""

MOST_INDEXED_DIMENSIONS = 2000
PLAIN_DIMENSIONS = 1900
CALM_SECONDS, CALM_GROWTH = 10.0, 1.1
"""A table that grew by no more than a tenth within that time is not being filled just now."""

LOOKED_AFTER_RECORDS = 500
"""After so many records that this process wrote to a table it looks at its size; after the first one too."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vectors ' || %s, 0))"
_FIND = "SELECT id, dimension FROM vector_namespace WHERE name = %s"
_ADD = "INSERT INTO vector_namespace (name, dimension) VALUES (%s, %s) RETURNING id"
_REMOVE = "DELETE FROM vector_namespace WHERE name = %s RETURNING id"
_CREATE = (
    'CREATE TABLE vectors_{number} (id text COLLATE "C" PRIMARY KEY, document_id text NOT NULL, seq bigint NOT NULL,'
    " idx integer NOT NULL, metadata jsonb NOT NULL, embedding vector({dimension}) NOT NULL)"
)
# A scan that has to fetch each vector from elsewhere takes several times as long.
_PLAIN = "ALTER TABLE vectors_{number} ALTER COLUMN embedding SET STORAGE PLAIN"
_OID = "SELECT 'vector'::regtype::oid::bigint"
_SIZE = (
    "SELECT pg_relation_size(to_regclass(%(table)s)),"
    " (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(table)s || '_hnsw')),"
    " (SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND attname = 'embedding')"
)


class Tables:
    """See the module's docstring."""

    def __init__(self, engine: engines.Engine, *, exact_bytes: int, calm_seconds: float) -> None:
        self._engine = engine
        self._calm_seconds = calm_seconds
        self._exact_bytes = exact_bytes
        self._oid: int | None = None
        self._written: Counter[str] = Counter()
        self._indexing: dict[str, asyncio.Task[None]] = {}

    async def aclose(self) -> None:
        """What is being made is given up."""
        for task in self._indexing.values():
            task.cancel()
        if self._indexing:
            await asyncio.wait(self._indexing.values())

    async def vector_oid(self) -> int:
        """The number of the type `vector` in this database."""
        if self._oid is None:
            self._oid = int((await self._engine.fetch(_OID))[0][0])
        return self._oid

    async def make(self, namespace: str, *, dimension: int) -> tuple[int, int]:
        """The namespace's number and dimension; another process may have been first, with another dimension."""

        async def make(tx: engines.Transaction) -> tuple[int, int]:
            await tx.run(_LOCK, (namespace,))
            found = await tx.row(_FIND, (namespace,))
            if found is not None:
                return int(found[0]), int(found[1])
            added = await tx.row(_ADD, (namespace, dimension))
            assert added is not None
            await tx.run(_CREATE.format(number=added[0], dimension=dimension))
            if dimension <= PLAIN_DIMENSIONS:
                await tx.run(_PLAIN.format(number=added[0]))
            return int(added[0]), dimension

        return await self._engine.run(make)

    async def drop(self, namespace: str) -> None:
        """Its table and all that it holds, at once."""

        async def drop(tx: engines.Transaction) -> int | None:
            await tx.run(_LOCK, (namespace,))
            removed = await tx.row(_REMOVE, (namespace,))
            if removed is None:
                return None
            await tx.run(f"DROP TABLE IF EXISTS vectors_{removed[0]}")
            return int(removed[0])

        number = await self._engine.run(drop)
        self._written.pop(f"vectors_{number}", None)

    def grew(self, table: str, *, by: int) -> None:
        """Rows were written; now and then this looks whether the table is due for its index."""
        first = table not in self._written
        self._written[table] += by
        if (first or self._written[table] >= LOOKED_AFTER_RECORDS) and table not in self._indexing:
            self._written[table] = 0
            task = asyncio.create_task(self._index_if_due(table), name=f"index-{table}")
            self._indexing[table] = task
            task.add_done_callback(lambda _: self._indexing.pop(table, None))

    async def _index_if_due(self, table: str) -> None:
        """What goes wrong here is tried again after some more records.

        While much is being written it waits: what is there when the making begins is indexed ten times as fast as what
        comes later.
        """
        seen_bytes = 0
        with contextlib.suppress(errors.TransientError, errors.ConfigurationError):
            while True:
                ((size_bytes, valid, dimension),) = await self._engine.fetch(_SIZE, {"table": table})
                if size_bytes is None or valid or size_bytes < self._exact_bytes or dimension > MOST_INDEXED_DIMENSIONS:
                    return
                if size_bytes <= CALM_GROWTH * seen_bytes or not self._calm_seconds:
                    break
                seen_bytes = size_bytes
                await asyncio.sleep(self._calm_seconds)
            await self._index(table)

    async def _index(self, table: str) -> None:
        connection = await self._engine.connect()
        try:
            await connection.execute("SET statement_timeout = 0")
            await connection.execute("SET lock_timeout = 0")
            await connection.execute("SET maintenance_work_mem = '256MB'")
            locked = await connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || %s, 0))", (table,)
            )
            if await locked.fetchone() == (True,):
                await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {table}_hnsw".encode())
                await connection.execute(
                    f"CREATE INDEX CONCURRENTLY {table}_hnsw ON {table} USING hnsw (embedding vector_cosine_ops)"
                    " WITH (m = 16, ef_construction = 100)".encode()
                )
        except psycopg.Error as error:
            raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, f"{table} has no index yet: {error}") from error
        finally:
            await connection.close()
