"""What `ports.registry` promises, as tests. Subclass `RegistryContract`; supply the fixtures `database` and `time`."""

import asyncio
from dataclasses import replace

import pytest

from bloomweaver.domain.documents import Ordering
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.identity import CollectionUid, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger
from bloomweaver.ports import registry as ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world

OTHER = TenantId("other")


def key(name: str, *verbs: str, tenant: TenantId = world.TENANT, expires_at: float | None = None) -> ports.StoredKey:
    """A stored key."""
    return ports.StoredKey(
        name, tenant, f"the {name}", "ab" * 32, frozenset(verbs), ("docs-*", "x"), 5.0, expires_at, "{}"
    )


class Collections:
    """Tenants and collections."""

    async def test_the_deployment_has_one_name(self, database: world.Database) -> None:
        names = await asyncio.gather(*(database.registry.deployment() for _ in range(5)))
        assert len(set(names)) == 1
        assert names[0]

    async def test_a_tenant_is_made_once_with_its_default_collection(self, database: world.Database) -> None:
        for _ in range(2):
            await database.registry.ensure_tenant(OTHER, pipeline=world.A)
        assert await database.registry.tenants() == [OTHER]
        made = await database.registry.collections(OTHER)
        assert [(c.name, c.ordering) for c in made] == [("default", Ordering.ARRIVAL)]

    async def test_a_collection_is_found_as_it_was_made(self, w: world.World, time: clocks.ManualClock) -> None:
        registry = w.database.registry
        wanted = {"ordering": Ordering.SOURCE, "description": "of notes", "pipeline": world.A}
        made, first = await registry.create_collection(OTHER, "notes", **wanted)  # type: ignore[arg-type]  # one call
        again, second = await registry.create_collection(OTHER, "notes", **wanted)  # type: ignore[arg-type]  # twice
        assert (first, second, again) == (True, False, made)
        assert await registry.collection(OTHER, "notes") == made
        assert await registry.collection(world.TENANT, "notes") is None
        assert (made.tenant, made.name, made.ordering, made.description) == (
            OTHER,
            "notes",
            Ordering.SOURCE,
            "of notes",
        )
        assert made.created_at == time.now()
        await registry.describe_collection(made.uid, description="new")
        assert await registry.collection(OTHER, "notes") == replace(made, description="new")

    async def test_of_concurrent_creators_one_makes_the_collection(self, database: world.Database) -> None:
        answers = await asyncio.gather(
            *(
                database.registry.create_collection(
                    OTHER, "n", ordering=Ordering.ARRIVAL, description="", pipeline=world.A
                )
                for _ in range(10)
            )
        )
        assert sum(made for _, made in answers) == 1
        assert len({c.uid for c, _ in answers}) == 1

    async def test_collections_are_listed_by_tenant_and_name(self, database: world.Database) -> None:
        for tenant, name in ((OTHER, "b"), (OTHER, "a"), (world.TENANT, "z")):
            await database.registry.create_collection(
                tenant, name, ordering=Ordering.ARRIVAL, description="", pipeline=world.A
            )
        listed = await database.registry.collections()
        assert [(c.tenant, c.name) for c in listed] == [(world.TENANT, "z"), (OTHER, "a"), (OTHER, "b")]
        assert [c.name for c in await database.registry.collections(OTHER)] == ["a", "b"]

    async def test_a_deleted_collection_frees_its_name_at_once(self, w: world.World) -> None:
        registry = w.database.registry
        await w.shown()
        await registry.delete_collection(w.collection.uid)
        assert await registry.collection(world.TENANT, w.collection.name) is None
        assert await registry.generation(w.collection.uid) is None
        assert await registry.collections() == []
        assert await w.refused(w.change("text")) == Reason.COLLECTION_NOT_FOUND
        anew = await world.make(w.database, w.time)
        assert anew.collection.uid != w.collection.uid
        assert await w.ledger.rows([anew.key()]) == [None]

    async def test_after_a_restore_sequence_numbers_go_on_above_all_that_were_given(self, w: world.World) -> None:
        before = await w.put("one")
        await w.database.registry.restored()
        after = await w.put("two")
        assert after - before > 2**39
        assert after < 2**53


class Generations:
    """R15."""

    async def test_a_new_collection_is_kept_in_its_pipeline_alone(self, w: world.World) -> None:
        generation = await w.database.registry.generation(w.collection.uid)
        assert generation is not None
        assert (generation.active, generation.pipelines) == (world.A, (world.A,))

    async def test_every_change_raises_the_epoch(self, w: world.World) -> None:
        epochs = [await w.epoch()]
        for change in (w.build(), w.build(None), w.build(), w.promote()):
            await change
            epochs.append(await w.epoch())
        assert epochs == [1, 2, 3, 4, 5]

    async def test_of_two_operators_one_wins(self, w: world.World) -> None:
        registry, uid, epoch = w.database.registry, w.collection.uid, await w.epoch()
        wanted = [world.pipeline(name) for name in "bcde"]
        moved = await asyncio.gather(*(registry.build(uid, epoch=epoch, pipeline=p) for p in wanted))
        assert sum(m.generation is not None for m in moved) == 1

    async def test_an_unknown_collection_moves_nothing(self, w: world.World) -> None:
        gone = CollectionUid("gone")
        assert (await w.database.registry.build(gone, epoch=1, pipeline=world.B)).generation is None
        assert (await w.database.registry.gate(gone, pipe=world.A.pipe)).total == 0

    async def test_the_gate_counts_what_is_shown_and_ready(self, w: world.World) -> None:
        for document in ("a", "b", "c"):
            await w.shown("text", document)
        await w.put("not shown yet", "d")
        await w.build()
        await w.index((await w.row("a")).seq, "a", pipe=world.B.pipe)
        failure = ledger.Failure(
            w.key("b"), (await w.row("b")).seq, world.B.pipe, Reason.UNPARSABLE, "", permanent=True
        )
        await w.ledger.fail(failure)
        gate = await w.database.registry.gate(w.collection.uid, pipe=world.B.pipe)
        assert gate == ports.Gate(3, 1, 1, (w.key("b"), w.key("c")))
        assert not gate.open

    async def test_a_shut_gate_is_not_passed_without_force(self, w: world.World) -> None:
        await w.shown()
        await w.build()
        refused = await w.promote()
        assert (refused.generation, refused.gate and refused.gate.laggards) == (None, (w.key(),))
        forced = await w.promote(force=True)
        assert forced.generation is not None
        assert forced.generation.active == world.B
        assert forced.gate == refused.gate

    async def test_a_promotion_keeps_the_old_pipeline_for_the_soak(self, w: world.World) -> None:
        seq = await w.shown()
        await w.build()
        await w.index(seq, pipe=world.B.pipe)
        moved = await w.promote()
        generation = moved.generation
        assert generation is not None
        assert generation == await w.database.registry.generation(w.collection.uid)
        assert (generation.active, generation.building, generation.previous) == (world.B, None, world.A)
        assert generation.previous_until == w.time.now() + 3600
        assert {str(v.state) for v in (await w.versions()).values()} == {"live"}

    async def test_what_changes_in_the_soak_is_kept_current_in_both(self, w: world.World) -> None:
        await w.build()
        await w.promote()
        seq = await w.put()
        assert not (await w.index(seq, pipe=world.B.pipe)).flipped
        assert (await w.index(seq, pipe=world.A.pipe)).flipped

    async def test_a_rollback_is_the_pointer_alone(self, w: world.World) -> None:
        seq = await w.shown()
        await w.build()
        await w.index(seq, pipe=world.B.pipe)
        await w.promote()
        moved = await w.database.registry.roll_back(w.collection.uid, epoch=await w.epoch(), force=False)
        assert moved.generation is not None
        assert moved.generation.pipelines == (world.A,)
        assert (await w.states())[seq] == "live"

    async def test_the_soak_ends_with_the_old_pipeline_dropped(self, w: world.World) -> None:
        registry, uid = w.database.registry, w.collection.uid
        assert (await registry.end_soak(uid, epoch=await w.epoch())).generation is None
        await w.build()
        await w.promote()
        moved = await registry.end_soak(uid, epoch=await w.epoch())
        assert moved.generation is not None
        assert moved.generation.pipelines == (world.B,)
        assert (await registry.roll_back(uid, epoch=await w.epoch(), force=True)).generation is None

    async def test_what_a_pipeline_had_given_up_is_tried_again_when_it_becomes_active(self, w: world.World) -> None:
        seq = await w.shown()
        await w.build()
        await w.ledger.fail(ledger.Failure(w.key(), seq, world.B.pipe, Reason.UNPARSABLE, "", permanent=True))
        await w.promote(force=True)
        w.time.advance(60)
        (stuck,) = await w.healing.stuck(limit=10)
        assert [step.pipe for step in stuck.steps] == [world.B.pipe]


class KeysAndSources:
    """Credentials."""

    async def test_a_key_is_found_as_it_was_stored(self, database: world.Database) -> None:
        registry = database.registry
        await registry.add_key(key("k1", "read", "admin"))
        await registry.add_key(key("k2", "write", tenant=OTHER, expires_at=9.0))
        assert await registry.key("k1") == key("k1", "read", "admin")
        assert await registry.key("none") is None
        assert await registry.keys(OTHER) == [key("k2", "write", tenant=OTHER, expires_at=9.0)]

    async def test_a_revoked_key_is_gone(self, database: world.Database) -> None:
        registry = database.registry
        await registry.add_key(key("k1", "read"))
        assert not await registry.revoke_key(OTHER, "k1")
        assert await registry.revoke_key(world.TENANT, "k1")
        assert not await registry.revoke_key(world.TENANT, "k1")
        assert await registry.key("k1") is None

    async def test_the_last_admin_key_stays(self, database: world.Database, time: clocks.ManualClock) -> None:
        registry = database.registry
        await registry.add_key(key("k1", "admin"))
        await registry.add_key(key("k2", "read"))
        await registry.add_key(key("k3", "admin", expires_at=time.now()))
        with pytest.raises(Refusal) as refused:
            await registry.revoke_key(world.TENANT, "k1")
        assert refused.value.reason is Reason.LAST_ADMIN_KEY
        await registry.add_key(key("k4", "admin"))
        assert await registry.revoke_key(world.TENANT, "k1")

    async def test_of_two_admin_keys_revoked_at_once_one_stays(self, database: world.Database) -> None:
        registry = database.registry
        for name in ("k1", "k2"):
            await registry.add_key(key(name, "admin"))
        revoking = (registry.revoke_key(world.TENANT, name) for name in ("k1", "k2"))
        answers = await asyncio.gather(*revoking, return_exceptions=True)
        assert sum(answer is True for answer in answers) == 1

    async def test_a_source_keeps_the_address_that_it_was_given_first(self, database: world.Database) -> None:
        registry = database.registry
        first = ports.Source(world.TENANT, "cms", "in-1", "docs", 300, (b"\x00\xff", b"old"), "{}")
        assert await registry.put_source(first) == first
        rotated = replace(
            first, ingest_id="in-2", secrets=(b"new", b"\x00\xff"), tolerance_seconds=60, filter_json=None
        )
        assert await registry.put_source(rotated) == replace(rotated, ingest_id="in-1")
        assert await registry.source(world.TENANT, "cms") == replace(rotated, ingest_id="in-1")
        assert await registry.source_by_ingest_id("in-1") == replace(rotated, ingest_id="in-1")
        assert await registry.source_by_ingest_id("in-2") is None
        assert await registry.source(OTHER, "cms") is None


class RegistryContract(Collections, Generations, KeysAndSources):
    """Every adapter passes these unchanged."""

    @pytest.fixture
    async def w(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """A collection ordered by arrival."""
        return await world.make(database, time)
