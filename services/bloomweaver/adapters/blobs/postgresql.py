"""Blobs in PostgreSQL, for a deployment that has one server and no object store.

Invariant: a blob is one row, written once, so it is there whole or not at all, and no later put changes it. A blob
travels through the database's memory as a whole: hence the limit.
"""

from collections.abc import AsyncIterator, Sequence

from bloomweaver.adapters.blobs import keys as blob_keys
from bloomweaver.adapters.engines import speaking
from bloomweaver.adapters.engines.postgresql import engine as engines
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs

MAX_BYTES = 64 * 1024 * 1024
PAGE_KEYS = 1000
DELETED_KEYS = 1000

_NOW = "coalesce(%(now)s::float8, date_part('epoch', statement_timestamp()))"
_PUT = (
    f"INSERT INTO blob (key, put_at, size_bytes, data) VALUES (%(key)s, {_NOW}, %(size)s, %(data)s)"
    " ON CONFLICT (key) DO NOTHING RETURNING 1"
)
_GET = "SELECT data FROM blob WHERE key = %(key)s"
_DELETE = "DELETE FROM blob WHERE key = ANY (%(keys)s::text[]) RETURNING 1"
# Keys are printable ASCII, so everything below a prefix stands before the prefix and DEL.
_LIST = (
    f"SELECT key, size_bytes, {_NOW} - put_at FROM blob"
    " WHERE key > %(after)s AND key >= %(prefix)s AND key < %(prefix)s || chr(127) ORDER BY key LIMIT %(limit)s"
)


class PostgresqlBlobs:
    """See the module's docstring."""

    def __init__(self, engine: engines.Engine) -> None:
        self._engine = engine

    async def put(self, key: str, data: bytes) -> None:
        blob_keys.check(key)
        if len(data) > MAX_BYTES:
            limit = MAX_BYTES // 1024 // 1024
            detail = f"The blob has {len(data)} bytes; PostgreSQL is given at most {limit} MB. Set BLOOMWEAVER_BLOBS"
            raise errors.PermanentError(Reason.TOO_LARGE, f"{detail} to an object store, s3://bucket for example.")
        await self._ask(_PUT, key=key, size=len(data), data=data)

    async def get(self, key: str) -> bytes:
        rows = await self._ask(_GET, binary=True, key=blob_keys.check(key))
        if not rows:
            raise errors.RetryableError(Reason.BLOB_MISSING, f"no blob {key}")
        return bytes(rows[0][0])

    async def delete(self, keys: Sequence[str]) -> None:
        checked = sorted({blob_keys.check(key) for key in keys})  # in one order, so that two deleters never deadlock
        for start in range(0, len(checked), DELETED_KEYS):
            await self._ask(_DELETE, keys=checked[start : start + DELETED_KEYS])

    async def list(self, prefix: str) -> AsyncIterator[blobs.BlobInfo]:
        after = ""
        while True:
            rows = await self._ask(_LIST, prefix=prefix, after=after, limit=PAGE_KEYS)
            for key, size_bytes, age_seconds in rows:
                yield blobs.BlobInfo(key, size_bytes, max(age_seconds, 0.0))
            if len(rows) < PAGE_KEYS:
                return
            after = rows[-1][0]

    async def _ask(self, statement: str, *, binary: bool = False, **values: object) -> Sequence[engines.Record]:
        with speaking.unavailable_as(Reason.BLOBS_UNAVAILABLE):
            return await self._engine.fetch(statement, {**values, "now": self._engine.told_time}, binary=binary)
