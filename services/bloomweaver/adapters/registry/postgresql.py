"""The registry on PostgreSQL: tenants, collections, generations, keys and sources, beside the ledger.

Invariant: a change that a decision about other rows stands behind (the last admin key, a generation) holds these rows'
locks, so that two operators cannot both be right.
"""

import base64
import json

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, engine, loading
from bloomweaver.adapters.registry import postgresql_generations
from bloomweaver.domain import identity
from bloomweaver.domain.documents import Collection, Generation, Ordering, Pipeline
from bloomweaver.domain.errors import Refusal, TransientError
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import registry

_DEPLOYMENT = "SELECT name FROM deployment"
_BY_NAME = f"SELECT {rows.COLLECTION} FROM collection WHERE tenant = %s AND name = %s AND deleted_at IS NULL"
_ALL = (
    f"SELECT {rows.COLLECTION} FROM collection WHERE deleted_at IS NULL AND tenant = coalesce(%s, tenant)"
    " ORDER BY tenant, name"
)
_CREATE = (
    "INSERT INTO collection (uid, tenant, name, ordering, description, created_at, epoch, active)"
    " VALUES (%s, %s, %s, %s, %s, %s, 1, %s) ON CONFLICT (tenant, name) WHERE deleted_at IS NULL DO NOTHING"
    " RETURNING cid"
)
_KEY = "id, tenant, name, hash, verbs, collections, created_at, expires_at, filter"
_PUT_KEY = (
    f"INSERT INTO api_key ({_KEY}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET"
    " tenant = excluded.tenant, name = excluded.name, hash = excluded.hash, verbs = excluded.verbs,"
    " collections = excluded.collections, created_at = excluded.created_at, expires_at = excluded.expires_at,"
    " filter = excluded.filter RETURNING 1"
)
_SOURCE = "tenant, name, ingest_id, collection, tolerance_seconds, secrets, filter"
_PUT_SOURCE = (
    f"INSERT INTO source ({_SOURCE}) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant, name) DO UPDATE SET"
    " collection = excluded.collection, tolerance_seconds = excluded.tolerance_seconds,"
    f" secrets = excluded.secrets, filter = excluded.filter RETURNING {_SOURCE}"
)


class PostgresqlRegistry:
    """See `ports.registry`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine
        self._nonces = engine.nonces

    async def deployment(self) -> str:
        """See the port."""
        ((name,),) = await self._engine.fetch(_DEPLOYMENT)
        if not name:
            # The row's lock decides between two that are first; the second reads what the first one wrote.
            await self._engine.fetch(
                "UPDATE deployment SET name = %s WHERE name = '' RETURNING 1", (self._nonces.nonce(),)
            )
            ((name,),) = await self._engine.fetch(_DEPLOYMENT)
        return str(name)

    async def restored(self) -> None:
        """See the port."""

        async def raise_epoch(tx: engine.Transaction) -> None:
            await tx.run("UPDATE deployment SET epoch = epoch + 1")
            await tx.run("UPDATE collection SET swept_began_at = NULL, backfill_cursor = '', bury_cursor = ''")

        await self._engine.run(raise_epoch, repeatable=False)

    async def tenants(self) -> list[TenantId]:
        """See the port."""
        return [TenantId(name) for (name,) in await self._engine.fetch("SELECT name FROM tenant ORDER BY 1")]

    async def ensure_tenant(self, tenant: TenantId, *, pipeline: Pipeline) -> None:
        """See the port."""
        name = identity.DEFAULT_COLLECTION
        await self.create_collection(tenant, name, ordering=Ordering.ARRIVAL, description="", pipeline=pipeline)

    async def create_collection(
        self, tenant: TenantId, name: str, *, ordering: Ordering, description: str, pipeline: Pipeline
    ) -> tuple[Collection, bool]:
        """See the port."""
        uid = CollectionUid(self._nonces.nonce())

        async def create(tx: engine.Transaction) -> tuple[Collection, bool]:
            values = (uid, tenant, name, ordering, description, tx.now, rows.pipeline_json(pipeline))
            made = await tx.row(_CREATE, values)
            if made is not None:
                await tx.run("INSERT INTO tenant VALUES (%s, %s) ON CONFLICT DO NOTHING", (tenant, tx.now))
                await postgresql_generations.add_namespaces(tx, made[0], [pipeline.pipe])
            record = await tx.row(_BY_NAME, (tenant, name))
            if record is None:  # another one of that name, which the insert waited for, is deleted already
                raise TransientError(Reason.DATABASE_LOCKED, f"The collection {name!r} comes and goes.")
            return rows.collection_of(record).collection, made is not None

        found = await self.collection(tenant, name)
        return (found, False) if found is not None else await self._engine.run(create)

    async def describe_collection(self, uid: CollectionUid, *, description: str) -> None:
        """See the port."""
        statement = "UPDATE collection SET description = %s WHERE uid = %s RETURNING 1"
        await self._engine.fetch(statement, (description, uid))

    async def collection(self, tenant: TenantId, name: str) -> Collection | None:
        """See the port."""
        found = await self._engine.fetch(_BY_NAME, (tenant, name))
        return rows.collection_of(found[0]).collection if found else None

    async def collections(self, tenant: TenantId | None = None) -> list[Collection]:
        """See the port."""
        return [rows.collection_of(record).collection for record in await self._engine.fetch(_ALL, (tenant,))]

    async def delete_collection(self, uid: CollectionUid) -> None:
        """See the port. Whoever holds documents of it finishes first."""

        async def delete(tx: engine.Transaction) -> None:
            if await loading.alone(tx, uid) is not None:
                await tx.run("UPDATE collection SET deleted_at = %s, epoch = epoch + 1 WHERE uid = %s", (tx.now, uid))

        await self._engine.run(delete)

    async def generation(self, uid: CollectionUid) -> Generation | None:
        """See the port."""
        found = await self._engine.fetch(loading.COLLECTIONS_BY_UID, (arrays.texts([uid]),))
        return rows.collection_of(found[0]).generation if found else None

    async def build(self, uid: CollectionUid, *, epoch: int, pipeline: Pipeline | None) -> registry.Moved:
        """See the port."""
        return await self._move(uid, epoch, lambda tx, stored: postgresql_generations.build(tx, stored, pipeline))

    async def gate(self, uid: CollectionUid, *, pipe: Pipe) -> registry.Gate:
        """See the port."""

        async def count(tx: engine.Transaction) -> registry.Gate:
            stored = await loading.collection(tx, uid)
            if stored is None:
                return registry.Gate(0, 0, 0, ())
            return await postgresql_generations.gate(tx, stored, pipe)

        return await self._engine.run(count, reads=True)

    async def promote(self, uid: CollectionUid, *, epoch: int, force: bool, soak_seconds: float) -> registry.Moved:
        """See the port."""
        return await self._move(
            uid,
            epoch,
            lambda tx, stored: postgresql_generations.promote(tx, stored, force=force, soak_seconds=soak_seconds),
        )

    async def roll_back(self, uid: CollectionUid, *, epoch: int, force: bool) -> registry.Moved:
        """See the port."""
        return await self._move(
            uid, epoch, lambda tx, stored: postgresql_generations.roll_back(tx, stored, force=force)
        )

    async def end_soak(self, uid: CollectionUid, *, epoch: int) -> registry.Moved:
        """See the port."""
        return await self._move(uid, epoch, postgresql_generations.end_soak)

    async def _move(self, uid: CollectionUid, epoch: int, change: postgresql_generations.Change) -> registry.Moved:
        """Not repeated where the answer to the commit was lost: the second time the epoch would be another."""
        return await self._engine.run(
            lambda tx: postgresql_generations.compare_and_set(tx, uid, epoch, change), repeatable=False
        )

    async def add_key(self, key: registry.StoredKey) -> None:
        """See the port."""
        await self._engine.fetch(_PUT_KEY, _key_values(key))

    async def key(self, key_id: str) -> registry.StoredKey | None:
        """See the port."""
        found = await self._keys("id = %s", key_id)
        return found[0] if found else None

    async def keys(self, tenant: TenantId) -> list[registry.StoredKey]:
        """See the port."""
        return await self._keys("tenant = %s", tenant)

    async def _keys(self, where: str, value: str) -> list[registry.StoredKey]:
        statement = f"SELECT {_KEY} FROM api_key WHERE {where} ORDER BY created_at, id"
        return [_key(record) for record in await self._engine.fetch(statement, (value,))]

    async def revoke_key(self, tenant: TenantId, key_id: str) -> bool:
        """See the port."""
        return await self._engine.run(lambda tx: _revoke(tx, tenant, key_id), repeatable=False)

    async def put_source(self, source: registry.Source) -> registry.Source:
        """See the port."""
        secrets = json.dumps([base64.b64encode(secret).decode() for secret in source.secrets])
        limits = (source.collection, source.tolerance_seconds, secrets, source.filter_json)
        values = (source.tenant, source.name, source.ingest_id, *limits)
        return _source((await self._engine.fetch(_PUT_SOURCE, values))[0])

    async def source(self, tenant: TenantId, name: str) -> registry.Source | None:
        """See the port."""
        return await self._one_source("tenant = %s AND name = %s", tenant, name)

    async def source_by_ingest_id(self, ingest_id: str) -> registry.Source | None:
        """See the port."""
        return await self._one_source("ingest_id = %s", ingest_id)

    async def _one_source(self, where: str, *values: str) -> registry.Source | None:
        found = await self._engine.fetch(f"SELECT {_SOURCE} FROM source WHERE {where}", values)
        return _source(found[0]) if found else None


async def _revoke(tx: engine.Transaction, tenant: TenantId, key_id: str) -> bool:
    """Under the locks of all keys of the tenant: of two admins that revoke each other one is left."""
    found = await tx.rows(f"SELECT {_KEY} FROM api_key WHERE tenant = %s ORDER BY id FOR UPDATE", (tenant,))
    known = {key.id: key for key in map(_key, found)}
    if key_id not in known:
        return False
    others = [key for key in known.values() if key.id != key_id and (key.expires_at is None or key.expires_at > tx.now)]
    if "admin" in known[key_id].verbs and not any("admin" in key.verbs for key in others):
        raise Refusal(Reason.LAST_ADMIN_KEY, "This is the tenant's last admin key. Make another one first.")
    await tx.run("DELETE FROM api_key WHERE id = %s", (key_id,))
    return True


def _key_values(key: registry.StoredKey) -> rows.Record:
    verbs, collections = json.dumps(sorted(key.verbs)), json.dumps(key.collections)
    named = (key.id, key.tenant, key.name, key.hash, verbs, collections)
    return (*named, key.created_at, key.expires_at, key.filter_json)


def _key(record: rows.Record) -> registry.StoredKey:
    key_id, tenant, name, hashed, verbs, collections, created_at, expires_at, filter_json = record
    allowed = (frozenset(json.loads(verbs)), tuple(json.loads(collections)))
    return registry.StoredKey(key_id, TenantId(tenant), name, hashed, *allowed, created_at, expires_at, filter_json)


def _source(record: rows.Record) -> registry.Source:
    tenant, name, ingest_id, collection, tolerance_seconds, secrets, filter_json = record
    opened = tuple(base64.b64decode(secret) for secret in json.loads(secrets))
    return registry.Source(TenantId(tenant), name, ingest_id, collection, tolerance_seconds, opened, filter_json)
