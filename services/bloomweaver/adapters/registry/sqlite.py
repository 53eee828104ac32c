"""The registry on SQLite: tenants, collections, generations, keys and sources, in the ledger's file."""

import base64
import json
import sqlite3

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import documents, engine
from bloomweaver.adapters.registry import sqlite_generations
from bloomweaver.domain import identity
from bloomweaver.domain.documents import Collection, Generation, Ordering, Pipeline
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import registry

_KEY = "id, tenant, name, hash, verbs, collections, created_at, expires_at, filter"
_SOURCE = "tenant, name, ingest_id, collection, tolerance_seconds, secrets, filter"


class SqliteRegistry:
    """See `ports.registry`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine
        self._now = engine.clock.now
        self._nonces = engine.nonces

    async def deployment(self) -> str:
        """See the port."""
        name = await self._engine.read(_deployment)
        if name:
            return name
        nonce = self._nonces.nonce()

        def begin(connection: sqlite3.Connection) -> str:
            connection.execute("UPDATE deployment SET name = ? WHERE name = ''", (nonce,))
            return _deployment(connection)

        return await self._engine.write(begin)

    async def restored(self) -> None:
        """See the port."""

        def raise_epoch(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE deployment SET epoch = epoch + 1, counter = 0")
            connection.execute("UPDATE collection SET swept_began_at = NULL, backfill_cursor = '', bury_cursor = ''")

        await self._engine.write(raise_epoch)

    async def tenants(self) -> list[TenantId]:
        """See the port."""
        return await self._engine.read(
            lambda connection: [TenantId(name) for (name,) in connection.execute("SELECT name FROM tenant ORDER BY 1")]
        )

    async def ensure_tenant(self, tenant: TenantId, *, pipeline: Pipeline) -> None:
        """See the port."""
        name = identity.DEFAULT_COLLECTION
        await self.create_collection(tenant, name, ordering=Ordering.ARRIVAL, description="", pipeline=pipeline)

    async def create_collection(
        self, tenant: TenantId, name: str, *, ordering: Ordering, description: str, pipeline: Pipeline
    ) -> tuple[Collection, bool]:
        """See the port."""
        uid, now = CollectionUid(self._nonces.nonce()), self._now()
        made = Collection(uid, tenant, name, ordering, description, now)

        def create(connection: sqlite3.Connection) -> tuple[Collection, bool]:
            stored = documents.collection_by_name(connection, tenant, name)
            if stored is not None:
                return stored.collection, False
            _insert_collection(connection, made, pipeline)
            return made, True

        return await self._engine.write(create)

    async def describe_collection(self, uid: CollectionUid, *, description: str) -> None:
        """See the port."""
        await self._engine.write(
            lambda connection: _run(connection, "UPDATE collection SET description = ? WHERE uid = ?", description, uid)
        )

    async def collection(self, tenant: TenantId, name: str) -> Collection | None:
        """See the port."""
        stored = await self._engine.read(lambda connection: documents.collection_by_name(connection, tenant, name))
        return None if stored is None else stored.collection

    async def collections(self, tenant: TenantId | None = None) -> list[Collection]:
        """See the port."""
        statement = (
            f"SELECT {rows.COLLECTION} FROM collection WHERE deleted_at IS NULL AND (?1 IS NULL OR tenant = ?1)"
            " ORDER BY tenant, name"
        )
        return await self._engine.read(
            lambda connection: [rows.collection_of(r).collection for r in connection.execute(statement, (tenant,))]
        )

    async def delete_collection(self, uid: CollectionUid) -> None:
        """See the port."""
        now = self._now()

        def delete(connection: sqlite3.Connection) -> None:
            statement = "UPDATE collection SET deleted_at = ?, epoch = epoch + 1 WHERE uid = ? AND deleted_at IS NULL"
            if _run(connection, statement, now, uid):
                documents.next_flip(connection)

        await self._engine.write(delete)

    async def generation(self, uid: CollectionUid) -> Generation | None:
        """See the port."""
        stored = await self._engine.read(lambda connection: documents.collection_by_uid(connection, uid))
        return None if stored is None else stored.generation

    async def build(self, uid: CollectionUid, *, epoch: int, pipeline: Pipeline | None) -> registry.Moved:
        """See the port."""
        now = self._now()
        return await self._move(uid, epoch, lambda c, stored: sqlite_generations.build(c, stored, pipeline, now=now))

    async def gate(self, uid: CollectionUid, *, pipe: Pipe) -> registry.Gate:
        """See the port."""

        def count(connection: sqlite3.Connection) -> registry.Gate:
            stored = documents.collection_by_uid(connection, uid)
            return registry.Gate(0, 0, 0, ()) if stored is None else sqlite_generations.gate(connection, stored, pipe)

        return await self._engine.read(count)

    async def promote(self, uid: CollectionUid, *, epoch: int, force: bool, soak_seconds: float) -> registry.Moved:
        """See the port."""
        now = self._now()
        return await self._move(
            uid,
            epoch,
            lambda c, stored: sqlite_generations.promote(c, stored, force=force, soak_seconds=soak_seconds, now=now),
        )

    async def roll_back(self, uid: CollectionUid, *, epoch: int, force: bool) -> registry.Moved:
        """See the port."""
        now = self._now()
        return await self._move(
            uid, epoch, lambda c, stored: sqlite_generations.roll_back(c, stored, force=force, now=now)
        )

    async def end_soak(self, uid: CollectionUid, *, epoch: int) -> registry.Moved:
        """See the port."""
        now = self._now()
        return await self._move(uid, epoch, lambda c, stored: sqlite_generations.end_soak(c, stored, now=now))

    async def _move(self, uid: CollectionUid, epoch: int, change: sqlite_generations.Change) -> registry.Moved:
        return await self._engine.write(
            lambda connection: sqlite_generations.compare_and_set(connection, uid, epoch, change)
        )

    async def add_key(self, key: registry.StoredKey) -> None:
        """See the port."""
        statement = f"INSERT OR REPLACE INTO api_key ({_KEY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        await self._engine.write(lambda connection: _run(connection, statement, *_key_values(key)))

    async def key(self, key_id: str) -> registry.StoredKey | None:
        """See the port."""
        found = await self._keys("id = ?", key_id)
        return found[0] if found else None

    async def keys(self, tenant: TenantId) -> list[registry.StoredKey]:
        """See the port."""
        return await self._keys("tenant = ?", tenant)

    async def _keys(self, where: str, value: str) -> list[registry.StoredKey]:
        statement = f"SELECT {_KEY} FROM api_key WHERE {where} ORDER BY created_at, id"
        return await self._engine.read(lambda connection: [_key(r) for r in connection.execute(statement, (value,))])

    async def revoke_key(self, tenant: TenantId, key_id: str) -> bool:
        """See the port."""
        now = self._now()
        return await self._engine.write(lambda connection: _revoke(connection, tenant, key_id, now=now))

    async def put_source(self, source: registry.Source) -> registry.Source:
        """See the port."""
        statement = (
            f"INSERT INTO source ({_SOURCE}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, name) DO UPDATE SET"
            " collection = excluded.collection, tolerance_seconds = excluded.tolerance_seconds,"
            f" secrets = excluded.secrets, filter = excluded.filter RETURNING {_SOURCE}"
        )
        secrets = json.dumps([base64.b64encode(secret).decode() for secret in source.secrets])
        limits = (source.collection, source.tolerance_seconds, secrets, source.filter_json)
        values = (source.tenant, source.name, source.ingest_id, *limits)
        return await self._engine.write(lambda connection: _source(connection.execute(statement, values).fetchall()[0]))

    async def source(self, tenant: TenantId, name: str) -> registry.Source | None:
        """See the port."""
        return await self._one_source("tenant = ? AND name = ?", tenant, name)

    async def source_by_ingest_id(self, ingest_id: str) -> registry.Source | None:
        """See the port."""
        return await self._one_source("ingest_id = ?", ingest_id)

    async def _one_source(self, where: str, *values: str) -> registry.Source | None:
        statement = f"SELECT {_SOURCE} FROM source WHERE {where}"
        record = await self._engine.read(lambda connection: connection.execute(statement, values).fetchone())
        return None if record is None else _source(record)


def _deployment(connection: sqlite3.Connection) -> str:
    return str(connection.execute("SELECT name FROM deployment").fetchone()[0])


def _insert_collection(connection: sqlite3.Connection, made: Collection, pipeline: Pipeline) -> None:
    _run(connection, "INSERT INTO tenant VALUES (?, ?) ON CONFLICT DO NOTHING", made.tenant, made.created_at)
    cursor = connection.execute(
        "INSERT INTO collection (uid, tenant, name, ordering, description, created_at, epoch, active)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, ?)",
        (
            made.uid,
            made.tenant,
            made.name,
            made.ordering,
            made.description,
            made.created_at,
            rows.pipeline_json(pipeline),
        ),
    )
    sqlite_generations.add_namespace(connection, cursor.lastrowid or 0, pipeline.pipe)


def _run(connection: sqlite3.Connection, statement: str, *values: object) -> int:
    return connection.execute(statement, values).rowcount


def _revoke(connection: sqlite3.Connection, tenant: TenantId, key_id: str, *, now: float) -> bool:
    found = connection.execute(f"SELECT {_KEY} FROM api_key WHERE tenant = ?", (tenant,))
    known = {key.id: key for key in map(_key, found)}
    if key_id not in known:
        return False
    others = [key for key in known.values() if key.id != key_id and (key.expires_at is None or key.expires_at > now)]
    if "admin" in known[key_id].verbs and not any("admin" in key.verbs for key in others):
        raise Refusal(Reason.LAST_ADMIN_KEY, "This is the tenant's last admin key. Make another one first.")
    _run(connection, "DELETE FROM api_key WHERE id = ?", key_id)
    return True


def _key_values(key: registry.StoredKey) -> rows.Record:
    verbs, collections = json.dumps(sorted(key.verbs)), json.dumps(key.collections)
    return (
        key.id,
        key.tenant,
        key.name,
        key.hash,
        verbs,
        collections,
        key.created_at,
        key.expires_at,
        key.filter_json,
    )


def _key(record: rows.Record) -> registry.StoredKey:
    key_id, tenant, name, hashed, verbs, collections, created_at, expires_at, filter_json = record
    return registry.StoredKey(
        key_id,
        TenantId(tenant),
        name,
        hashed,
        frozenset(json.loads(verbs)),
        tuple(json.loads(collections)),
        created_at,
        expires_at,
        filter_json,
    )


def _source(record: rows.Record) -> registry.Source:
    tenant, name, ingest_id, collection, tolerance_seconds, secrets, filter_json = record
    opened = tuple(base64.b64decode(secret) for secret in json.loads(secrets))
    return registry.Source(TenantId(tenant), name, ingest_id, collection, tolerance_seconds, opened, filter_json)
