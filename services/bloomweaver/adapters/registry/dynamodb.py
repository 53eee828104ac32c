"""The registry on DynamoDB: tenants, collections, generations, keys and sources, in the ledger's table.

A name belongs to whoever's transaction put it there first; what two operators want at once, one of them gets.
"""

import base64
import contextlib
from collections.abc import Callable
from typing import Any

from bloomweaver.adapters.engines.dynamodb import engine, items, keys
from bloomweaver.adapters.registry import dynamodb_generations
from bloomweaver.domain import generations, identity
from bloomweaver.domain.documents import Collection, Generation, Ordering, Pipeline
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import registry

COUNTED_WITHIN_SECONDS = 900.0
"""A promotion reads every row of its collection."""

_NEW = "attribute_not_exists(pk)"
_THERE = "attribute_exists(pk)"


class DynamodbRegistry:
    """See `ports.registry`."""

    def __init__(self, opened: engine.Engine) -> None:
        self._engine = opened
        self._now = opened.now
        self._nonces = opened.nonces

    async def deployment(self) -> str:
        """See the port."""
        found = await self._engine.one(keys.DEPLOYMENT)
        if found is None or "name" not in found:
            named = {":name": items.text(self._nonces.nonce())}
            expression = "SET #name = if_not_exists(#name, :name)"
            found = await self._engine.update(keys.DEPLOYMENT, expression, named, names={"#name": "name"})
        return str(found["name"]["S"])

    async def restored(self) -> None:
        """See the port. Blocks of numbers that other processes hold end within a minute; they should be stopped."""
        values = {":one": items.number(1), ":zero": items.number(0)}
        expression = "SET epoch = if_not_exists(epoch, :one) + :one, #counter = :zero"
        await self._engine.update(keys.DEPLOYMENT, expression, values, names={"#counter": "counter"})
        self._engine.sequence.drop()
        for name in await self._engine.all(keys.COLLECTIONS):
            uid = name["sk"]["S"]
            with contextlib.suppress(engine.Conflict):  # one that is deleted meanwhile needs nothing
                await self._engine.update(keys.collection(uid), "REMOVE swept_began_at", condition=_THERE)
            again = {":start": items.text("")}
            await self._engine.update((keys.SCANS, uid), "SET backfill = :start, bury = :start", again)

    async def tenants(self) -> list[TenantId]:
        """See the port."""
        return [TenantId(item["sk"]["S"]) for item in await self._engine.all(keys.TENANTS)]

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

        async def attempt() -> tuple[Collection, bool]:
            there = await self.collection(tenant, name)
            if there is not None:
                return there, False
            await self._engine.write(_made(items.StoredCollection(made, Generation(uid, 1, pipeline))))
            return made, True

        return await self._engine.decided(attempt)

    async def describe_collection(self, uid: CollectionUid, *, description: str) -> None:
        """See the port."""
        try:
            values = {":description": items.text(description)}
            expression = "SET description = :description"
            await self._engine.update(keys.collection(uid), expression, values, condition="attribute_exists(pk)")
        except engine.Conflict:
            return  # there is none

    async def collection(self, tenant: TenantId, name: str) -> Collection | None:
        """See the port."""
        named = await self._engine.one(keys.collection_name(tenant, name))
        stored = None if named is None else await self._stored(CollectionUid(named["uid"]["S"]))
        return None if stored is None else stored.collection

    async def collections(self, tenant: TenantId | None = None) -> list[Collection]:
        """See the port."""
        if tenant is None:
            uids = [item["sk"]["S"] for item in await self._engine.all(keys.COLLECTIONS)]
        else:
            uids = [item["uid"]["S"] for item in await self._engine.all(keys.tenant(tenant), begins=keys.NAME)]
        found = await self._engine.get([keys.collection(uid) for uid in uids])
        stored = [items.collection_of(item) for item in found if item is not None]
        listed = [one.collection for one in stored if one is not None]
        return sorted(listed, key=lambda one: (one.tenant, one.name))

    async def delete_collection(self, uid: CollectionUid) -> None:
        """See the port. The gates' epoch rises with it, so that nothing more is shown of it, or built for it."""
        now = self._now()

        async def attempt() -> None:
            there = await dynamodb_generations.place(self._engine, uid)
            if there is not None:
                await self._engine.write(_deleted(there, now=now))

        await self._engine.decided(attempt)

    async def _stored(self, uid: CollectionUid) -> items.StoredCollection | None:
        item = await self._engine.one(keys.collection(uid))
        return None if item is None else items.collection_of(item)

    async def generation(self, uid: CollectionUid) -> Generation | None:
        """See the port."""
        stored = await self._stored(uid)
        return None if stored is None else stored.generation

    async def build(self, uid: CollectionUid, *, epoch: int, pipeline: Pipeline | None) -> registry.Moved:
        """See the port."""

        async def attempt() -> registry.Moved:
            there = await self._at(uid, epoch)
            if there is None:
                return registry.Moved(None)
            wanted = generations.beside(there.stored.generation, pipeline)
            if wanted is there.stored.generation:
                return registry.Moved(wanted)
            return await dynamodb_generations.save(self._engine, there, wanted, strict=False)

        return await self._engine.decided(attempt)

    async def _at(self, uid: CollectionUid, epoch: int) -> dynamodb_generations.Place | None:
        there = await dynamodb_generations.place(self._engine, uid)
        return None if there is None or there.stored.generation.epoch != epoch else there

    async def gate(self, uid: CollectionUid, *, pipe: Pipe) -> registry.Gate:
        """See the port."""
        if await self._stored(uid) is None:
            return registry.Gate(0, 0, 0, ())
        return await dynamodb_generations.gate(self._engine, uid, pipe)

    async def promote(self, uid: CollectionUid, *, epoch: int, force: bool, soak_seconds: float) -> registry.Moved:
        """See the port."""
        until = self._now() + soak_seconds
        return await self._activate(uid, epoch, lambda held: generations.promoted(held, until=until), force=force)

    async def roll_back(self, uid: CollectionUid, *, epoch: int, force: bool) -> registry.Moved:
        """See the port."""
        return await self._activate(uid, epoch, generations.rolled_back, force=force)

    async def _activate(
        self, uid: CollectionUid, epoch: int, move: Callable[[Generation], Generation | None], *, force: bool
    ) -> registry.Moved:
        """Another pipeline becomes active, if its gate is open."""

        async def attempt() -> registry.Moved:
            there = await self._at(uid, epoch)
            wanted = None if there is None else move(there.stored.generation)
            if there is None or wanted is None:
                return registry.Moved(None)
            counted = await dynamodb_generations.gate(self._engine, uid, wanted.active.pipe)
            if not counted.open and not force:
                return registry.Moved(None, counted)
            return await dynamodb_generations.save(self._engine, there, wanted, strict=not force, counted=counted)

        return await self._engine.decided(attempt, within_seconds=COUNTED_WITHIN_SECONDS)

    async def end_soak(self, uid: CollectionUid, *, epoch: int) -> registry.Moved:
        """See the port."""

        async def attempt() -> registry.Moved:
            there = await self._at(uid, epoch)
            wanted = None if there is None else generations.soaked(there.stored.generation)
            if there is None or wanted is None:
                return registry.Moved(None)
            return await dynamodb_generations.save(self._engine, there, wanted, strict=False)

        return await self._engine.decided(attempt)

    async def add_key(self, key: registry.StoredKey) -> None:
        """See the port."""

        async def attempt() -> None:
            there = await self.key(key.id)
            writes = [{"Put": {"Item": {**items.named(name), "body": _key_body(key)}}} for name in _key_names(key)]
            if there is not None and there.tenant != key.tenant:
                writes.append({"Delete": {"Key": items.named(keys.tenants_key(there.tenant, key.id))}})
            await self._engine.write([*writes, _ring_turned(key.tenant)])

        await self._engine.decided(attempt)

    async def key(self, key_id: str) -> registry.StoredKey | None:
        """See the port."""
        found = await self._engine.one(keys.api_key(key_id))
        return None if found is None else _key(found)

    async def keys(self, tenant: TenantId) -> list[registry.StoredKey]:
        """See the port."""
        found = [_key(item) for item in await self._engine.all(keys.tenant(tenant), begins=keys.API_KEY)]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    async def revoke_key(self, tenant: TenantId, key_id: str) -> bool:
        """See the port."""
        now = self._now()

        async def attempt() -> bool:
            ring = await self._engine.one(keys.key_ring(tenant))
            known = {key.id: key for key in await self.keys(tenant)}
            if key_id not in known:
                return False
            _check_last_admin(known, key_id, now=now)
            gone = [{"Delete": {"Key": items.named(name)}} for name in _key_names(known[key_id])]
            turns = 0 if ring is None else items.integer(ring, "turns")
            await self._engine.write([*gone, _ring_turned(tenant, turns=turns)])
            return True

        return await self._engine.decided(attempt)

    async def put_source(self, source: registry.Source) -> registry.Source:
        """See the port."""

        async def attempt() -> registry.Source:
            there = await self.source(source.tenant, source.name)
            ingest_id = source.ingest_id if there is None else there.ingest_id
            body = _source_body(source, ingest_id)
            names = (keys.source(source.tenant, source.name), keys.ingest(ingest_id))
            writes: list[dict[str, Any]] = [{"Put": {"Item": {**items.named(name), "body": body}}} for name in names]
            if there is None:
                writes = [{"Put": {**write["Put"], "ConditionExpression": _NEW}} for write in writes]
            await self._engine.write(writes)
            return _source({"body": body})

        return await self._engine.decided(attempt)

    async def source(self, tenant: TenantId, name: str) -> registry.Source | None:
        """See the port."""
        found = await self._engine.one(keys.source(tenant, name))
        return None if found is None else _source(found)

    async def source_by_ingest_id(self, ingest_id: str) -> registry.Source | None:
        """See the port."""
        found = await self._engine.one(keys.ingest(ingest_id))
        return None if found is None else _source(found)


def _made(stored: items.StoredCollection) -> list[dict[str, Any]]:
    made, uid = stored.collection, stored.collection.uid
    name = {**items.named(keys.collection_name(made.tenant, made.name)), "uid": items.text(uid)}
    gates = [
        {
            **items.named(keys.gate(uid, shard)),
            "epoch": items.number(1),
            "flips": items.number(0),
            "lame": items.number(0),
        }
        for shard in range(keys.SHARDS)
    ]
    return [
        {"Put": {"Item": name, "ConditionExpression": _NEW}},
        {"Put": {"Item": items.named((keys.TENANTS, made.tenant))}},
        {"Put": {"Item": items.named((keys.COLLECTIONS, uid))}},
        {"Put": {"Item": items.collection_item(stored), "ConditionExpression": _NEW}},
        *({"Put": {"Item": gate}} for gate in gates),
        *dynamodb_generations.made_with(stored.generation),
    ]


def _deleted(there: dynamodb_generations.Place, *, now: float) -> list[dict[str, Any]]:
    made, epoch = there.stored.collection, there.stored.generation.epoch
    values = {":was": items.number(epoch), ":next": items.number(epoch + 1), ":now": items.number(now)}
    collection = {
        "Key": items.named(keys.collection(made.uid)),
        "UpdateExpression": "SET deleted_at = :now, epoch = :next",
        "ConditionExpression": "epoch = :was AND attribute_not_exists(deleted_at)",
        "ExpressionAttributeValues": values,
    }
    raised = {"UpdateExpression": "SET epoch = :next", "ExpressionAttributeValues": {":next": items.number(epoch + 1)}}
    gates = [{"Update": {"Key": items.named(keys.gate(made.uid, shard)), **raised}} for shard in range(keys.SHARDS)]
    gone = (keys.collection_name(made.tenant, made.name), (keys.COLLECTIONS, made.uid), (keys.SCANS, made.uid))
    return [
        {"Update": collection},
        *gates,
        *({"Delete": {"Key": items.named(name)}} for name in gone),
        {"Put": {"Item": items.named((keys.RETIRED, made.uid))}},
    ]


def _check_last_admin(known: dict[str, registry.StoredKey], key_id: str, *, now: float) -> None:
    others = [key for key in known.values() if key.id != key_id and (key.expires_at is None or key.expires_at > now)]
    if "admin" in known[key_id].verbs and not any("admin" in key.verbs for key in others):
        raise Refusal(Reason.LAST_ADMIN_KEY, "This is the tenant's last admin key. Make another one first.")


def _ring_turned(tenant: TenantId, *, turns: int | None = None) -> dict[str, Any]:
    """The tenant's keys changed. turns: only if they did not since that number was read."""
    values = {":one": items.number(1)}
    change: dict[str, Any] = {"Key": items.named(keys.key_ring(tenant)), "UpdateExpression": "ADD turns :one"}
    if turns is not None:
        change["ConditionExpression"] = "turns = :was" if turns else "attribute_not_exists(turns)"
        values |= {":was": items.number(turns)} if turns else {}
    return {"Update": {**change, "ExpressionAttributeValues": values}}


def _key_names(key: registry.StoredKey) -> tuple[keys.Key, keys.Key]:
    return keys.api_key(key.id), keys.tenants_key(key.tenant, key.id)


def _key_body(key: registry.StoredKey) -> dict[str, Any]:
    lists = (sorted(key.verbs), list(key.collections))
    return items.dumped(
        [key.id, key.tenant, key.name, key.hash, *lists, key.created_at, key.expires_at, key.filter_json]
    )


def _key(item: items.Item) -> registry.StoredKey:
    key_id, tenant, name, hashed, verbs, collections, created_at, expires_at, filter_json = items.loaded(item)
    return registry.StoredKey(
        key_id,
        TenantId(tenant),
        name,
        hashed,
        frozenset(verbs),
        tuple(collections),
        created_at,
        expires_at,
        filter_json,
    )


def _source_body(source: registry.Source, ingest_id: str) -> dict[str, Any]:
    secrets = [base64.b64encode(secret).decode() for secret in source.secrets]
    limits = (source.collection, source.tolerance_seconds, secrets, source.filter_json)
    return items.dumped([source.tenant, source.name, ingest_id, *limits])


def _source(item: items.Item) -> registry.Source:
    tenant, name, ingest_id, collection, tolerance_seconds, secrets, filter_json = items.loaded(item)
    opened = tuple(base64.b64decode(secret) for secret in secrets)
    return registry.Source(TenantId(tenant), name, ingest_id, collection, tolerance_seconds, opened, filter_json)
