"""What `ports.healing` and `ports.registry` promise to several processes that share one database: they share the work.

Subclass it and supply the fixtures `database` and `other` (the four ports of one database, opened twice) and `time`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from bloomweaver.domain import errors
from bloomweaver.domain.events import Accepted
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import healing as ports
from bloomweaver.ports import registry
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world

NAMES = tuple(f"doc-{number:02}" for number in range(12))
PAGE = 3

T = TypeVar("T")


class RacingContract:
    """Every adapter whose database several processes can share passes these unchanged."""

    @pytest.fixture
    async def w(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """One process."""
        return await world.make(database, time)

    @pytest.fixture
    async def o(self, w: world.World, other: world.Database) -> world.World:
        """Another one, on the same collection."""
        return world.World(other, w.time, w.collection)

    async def test_what_waits_is_hinted_by_one_of_them(self, w: world.World, o: world.World) -> None:
        for name in NAMES:
            await w.put("text", name)
        w.time.advance(60)
        assert sorted(names(await both(w, o, lambda one: one.healing.stuck(limit=PAGE)))) == list(NAMES)

    async def test_what_a_building_pipeline_lacks_is_hinted_by_one_of_them(
        self, w: world.World, o: world.World
    ) -> None:
        for name in NAMES:
            await w.shown("text", name)
        await w.database.registry.build(w.collection.uid, epoch=await w.epoch(), pipeline=world.B)
        empty = frozenset({f"change:{world.B.space}"})
        w.time.advance(60)
        given = await both(w, o, lambda one: one.healing.stuck(limit=PAGE, empty_lanes=empty))
        assert sorted(names(given)) == list(NAMES)

    async def test_what_is_dead_is_removed_by_one_of_them(self, w: world.World, o: world.World) -> None:
        for name in NAMES:
            await w.shown("one", name)
            await w.shown("two", name)
        w.time.advance(61)
        assert sorted(names(await both(w, o, lambda one: one.healing.removals(limit=PAGE)))) == list(NAMES)

    async def test_what_is_garbage_is_collected_by_one_of_them(self, w: world.World, o: world.World) -> None:
        first = {name: await w.shown("one", name) for name in NAMES}
        for name in NAMES:
            await w.shown("two", name)
            await w.remove_all(name)
        given = await both(w, o, lambda one: one.healing.garbage(limit=PAGE))
        await asyncio.gather(w.healing.forget(given), o.healing.forget(given))
        assert sorted(item.key.document_id for item in given if item.revision) == list(NAMES)
        looks = await o.ledger.look([o.key(name) for name in NAMES])
        assert all(look is not None for look in looks)
        kept = {str(look.row.key.document_id): look.revision(first[str(look.row.key.document_id)])
                for look in looks if look is not None}  # fmt: skip
        assert kept == dict.fromkeys(NAMES)

    async def test_a_deleted_collection_is_erased_while_both_are_at_it(self, w: world.World, o: world.World) -> None:
        for name in NAMES:
            await w.shown("text", name)
        await w.database.registry.delete_collection(w.collection.uid)
        for _ in range(20):
            done = await asyncio.gather(*(one.healing.erase(w.collection.uid, limit=PAGE) for one in (w, o)))
            if all(done):
                break
        w.time.advance(ports.RETIRED_SECONDS)
        assert await w.healing.erase(w.collection.uid, limit=PAGE)
        assert await o.healing.retired() == []

    async def test_of_two_operators_one_moves_the_generation(self, w: world.World, o: world.World) -> None:
        epoch = await w.epoch()
        moved = await asyncio.gather(
            *(one.database.registry.build(w.collection.uid, epoch=epoch, pipeline=world.B) for one in (w, o))
        )
        assert sorted(one.generation is not None for one in moved) == [False, True]
        assert await w.epoch() == epoch + 1

    async def test_two_admins_that_revoke_each_other_leave_one(self, w: world.World, o: world.World) -> None:
        for key_id in ("a", "b"):
            verbs = frozenset({"admin"})
            await w.database.registry.add_key(registry.StoredKey(key_id, world.TENANT, "n", "h", verbs, (), 0.0))
        answers = await asyncio.gather(
            w.database.registry.revoke_key(world.TENANT, "a"),
            o.database.registry.revoke_key(world.TENANT, "b"),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, errors.Refusal)]
        assert [refusal.reason for refusal in refused] == [Reason.LAST_ADMIN_KEY]
        assert len(await w.database.registry.keys(world.TENANT)) == 1

    async def test_a_collection_is_made_once(self, w: world.World, o: world.World) -> None:
        async def make(one: world.World) -> tuple[object, bool]:
            return await one.database.registry.create_collection(
                world.TENANT, "new", ordering=w.collection.ordering, description="", pipeline=world.A
            )

        made = await asyncio.gather(*(make(one) for one in (w, o, w, o)))
        assert sorted(new for _, new in made) == [False, False, False, True]
        assert len({collection for collection, _ in made}) == 1

    async def test_what_is_accepted_while_the_collection_goes_is_refused_or_erased(
        self, w: world.World, o: world.World
    ) -> None:
        changes = [o.change("text", name, event_id=f"event-{name}") for name in NAMES]
        answers, _ = await asyncio.gather(
            asyncio.gather(*(o.ledger.accept([change]) for change in changes)),
            w.database.registry.delete_collection(w.collection.uid),
        )
        refused = [answer for (answer,) in answers if not isinstance(answer, Accepted)]
        assert {answer.refusal.reason for answer in refused} <= {Reason.COLLECTION_NOT_FOUND}
        w.time.advance(ports.RETIRED_SECONDS)
        while not await w.healing.erase(w.collection.uid, limit=100):
            pass
        assert await o.healing.retired() == []


async def both(w: world.World, o: world.World, ask: Callable[[world.World], Awaitable[Sequence[T]]]) -> list[T]:
    """What two processes are given that ask at the same time, until neither is given any more."""
    given: list[T] = []
    while parts := [part for part in await asyncio.gather(*(ask(one) for one in (w, o, w, o))) if part]:
        given += [item for part in parts for item in part]
    return given


def names(given: Sequence[ports.Stuck]) -> list[str]:
    """Of the documents, one for each time that it was given."""
    return [str(stuck.key.document_id) for stuck in given]
