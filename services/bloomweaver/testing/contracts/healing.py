"""What `ports.healing` promises, as tests. Subclass `HealingContract` and supply the fixtures `database` and `time`."""

import pytest

from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import Meta, Ordering
from bloomweaver.domain.events import Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import healing as ports
from bloomweaver.ports import ledger
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import healing_backlog, healing_owning, world

DAY_SECONDS = 86_400.0
CHANGE_A = f"change:{world.A.space}"
CHANGE_B = f"change:{world.B.space}"


def lanes(found: list[ports.Stuck]) -> list[tuple[str, str]]:
    """(document, lane) of each step."""
    return [(stuck.key.document_id, str(step.lane)) for stuck in found for step in stuck.steps]


class Waiting:
    """R12: `stuck` and `removals`."""

    async def test_what_waits_is_hinted_again_later_and_later(self, w: world.World) -> None:
        await w.put()
        given = []
        for minute in range(130):
            w.time.advance(60)
            if await w.healing.stuck(limit=10):
                given.append(minute + 1)
        assert given == [1, 3, 7, 15, 31, 63, 123]

    async def test_a_hint_says_whose_document_goes_where(self, w: world.World) -> None:
        seq = await w.put()
        w.time.advance(60)
        (stuck,) = await w.healing.stuck(limit=10)
        assert (stuck.tenant, stuck.key, stuck.seq) == (world.TENANT, w.key(), seq)
        assert stuck.steps == steps.next_steps((await w.row()), (), (await w.look()).generation)

    async def test_an_empty_queue_means_that_the_hint_was_lost(self, w: world.World) -> None:
        await w.put()
        empty = frozenset({CHANGE_A})
        assert await w.healing.stuck(limit=10, empty_lanes=empty) == []
        w.time.advance(5)
        assert await w.healing.stuck(limit=10, empty_lanes=frozenset({"create"})) == []
        assert lanes(await w.healing.stuck(limit=10, empty_lanes=empty)) == [(world.DOCUMENT, "change")]
        assert await w.healing.stuck(limit=10, empty_lanes=empty) == []

    async def test_progress_starts_the_delay_anew(self, w: world.World) -> None:
        seq = await w.put()
        w.time.advance(59)
        await w.intend(seq)
        w.time.advance(59)
        assert await w.healing.stuck(limit=10) == []
        w.time.advance(1)
        assert lanes(await w.healing.stuck(limit=10)) == [(world.DOCUMENT, "create")]

    async def test_a_document_that_is_where_it_should_be_is_left_alone(self, w: world.World) -> None:
        await w.shown()
        w.time.advance(DAY_SECONDS)
        assert await w.healing.stuck(limit=10, empty_lanes=frozenset({CHANGE_A, "create", "update"})) == []

    async def test_a_failed_document_is_left_alone(self, w: world.World) -> None:
        seq = await w.put()
        await w.ledger.fail(ledger.Failure(w.key(), seq, world.A.pipe, Reason.UNPARSABLE, "", permanent=True))
        w.time.advance(DAY_SECONDS)
        assert await w.healing.stuck(limit=10) == []

    async def test_a_postponed_document_is_given_when_its_time_has_come(self, w: world.World) -> None:
        seq = await w.put()
        await w.ledger.postpone([w.key()], seq=seq, reason=Reason.THROTTLED, delay_seconds=300.0)
        w.time.advance(299)
        assert await w.healing.stuck(limit=10, empty_lanes=frozenset({CHANGE_A})) == []
        w.time.advance(1)
        assert lanes(await w.healing.stuck(limit=10)) == [(world.DOCUMENT, "change")]

    async def test_a_delete_waits_until_its_vectors_were_removed(self, w: world.World) -> None:
        await w.shown()
        await w.delete()
        w.time.advance(60)
        assert lanes(await w.healing.stuck(limit=10)) == [(world.DOCUMENT, "delete")]
        await w.ledger.removed(list((await w.versions()).values()))
        w.time.advance(300)
        assert await w.healing.stuck(limit=10, empty_lanes=frozenset({"delete"})) == []

    async def test_no_more_than_the_limit_is_given_and_the_rest_is_not_forgotten(self, w: world.World) -> None:
        for number in range(5):
            await w.put("text", f"doc-{number}")
        w.time.advance(60)
        pages = [await w.healing.stuck(limit=2) for _ in range(4)]
        assert [len(page) for page in pages] == [2, 2, 1, 0]

    async def test_of_two_healers_one_is_given_a_document(self, w: world.World) -> None:
        await w.put()
        w.time.advance(60)
        assert (len(await w.healing.stuck(limit=10)), len(await w.healing.stuck(limit=10))) == (1, 0)

    async def test_superseded_vectors_go_after_a_minute_and_once_more_after_ten(self, w: world.World) -> None:
        one = await w.shown("one")
        await w.index(await w.put("two"))
        given = []
        for minute in range(1, 15):
            w.time.advance(60)
            for stuck in await w.healing.removals(limit=10):
                assert [(s.lane, s.pipe) for s in stuck.steps] == [(Lane.DELETE, world.A.pipe)]
                await w.ledger.removed([(await w.versions())[one, world.A.pipe]])
                given.append(minute)
        assert given == [1, 10]
        assert (await w.states())[one] == "gone"

    async def test_a_removal_that_was_given_is_given_again_after_a_minute(self, w: world.World) -> None:
        await w.shown("one")
        await w.index(await w.put("two"))
        w.time.advance(60)
        assert (len(await w.healing.removals(limit=10)), len(await w.healing.removals(limit=10))) == (1, 0)
        w.time.advance(60)
        assert len(await w.healing.removals(limit=10)) == 1


class Rebuilding:
    """R15: what a re-index asks of documents that are already searchable."""

    async def given(self, w: world.World, *, limit: int = 10) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for _ in range(5):
            w.time.advance(60)
            found += lanes(await w.healing.stuck(limit=limit))
        return found

    async def test_what_failed_in_the_previous_pipeline_is_given_once_it_is_active_again(self, w: world.World) -> None:
        one = await w.shown("one")
        await w.build()
        await w.index(one, pipe=world.B.pipe)
        await w.promote()
        two = await w.put("two")
        await w.ledger.fail(ledger.Failure(w.key(), two, world.A.pipe, Reason.INVALID_VECTOR, "", permanent=True))
        assert (await w.index(two, pipe=world.B.pipe)).flipped
        assert await self.given(w) == []
        moved = await w.database.registry.roll_back(w.collection.uid, epoch=await w.epoch(), force=True)
        assert moved.generation is not None
        assert (world.DOCUMENT, "change") in await self.given(w)

    async def test_laggards_of_a_building_pipeline_are_hinted_page_by_page(self, w: world.World) -> None:
        for number in range(5):
            await w.shown("text", f"doc-{number}")
        await w.build()
        found = await self.given(w, limit=2)
        assert list(dict.fromkeys(found)) == [(f"doc-{number}", "change") for number in range(5)]

    async def test_a_re_index_ends_when_every_document_is_ready(self, w: world.World) -> None:
        seq = await w.shown()
        await w.build()
        await w.index(seq, pipe=world.B.pipe)
        assert await self.given(w) == []
        assert (await w.promote()).generation is not None
        assert await self.given(w) == []

    async def test_cancelling_buries_what_was_built_and_shows_what_waited(self, w: world.World) -> None:
        await w.build()
        seq = await w.put()
        await w.index(seq)
        await w.intend(seq, pipe=world.B.pipe)
        await w.build(None)
        assert await w.healing.bury(limit=10) == 1
        await w.healing.stuck(limit=10)
        assert (await w.row()).live == seq
        assert (await w.versions())[seq, world.B.pipe].state == "dead"

    async def test_a_pipeline_that_failed_a_document_holds_nothing_up(self, w: world.World) -> None:
        await w.build()
        seq = await w.put()
        await w.ledger.fail(ledger.Failure(w.key(), seq, world.B.pipe, Reason.UNPARSABLE, "", permanent=True))
        assert (await w.index(seq)).flipped

    async def test_versions_of_the_dropped_pipeline_are_buried_and_no_others(self, w: world.World) -> None:
        seq = await w.shown()
        await w.build()
        await w.index(seq, pipe=world.B.pipe)
        await w.promote()
        assert await w.healing.bury(limit=10) == 0
        await w.database.registry.end_soak(w.collection.uid, epoch=await w.epoch())
        assert await w.healing.bury(limit=10) == 1
        assert await w.healing.bury(limit=10) == 0
        states = {pipe: str(v.state) for (_, pipe), v in (await w.versions()).items()}
        assert states == {world.A.pipe: "dead", world.B.pipe: "live"}


class Collecting:
    """R16: garbage, tombstones, collections, what is over its time."""

    drops_by_itself = False
    """Whether the store itself drops what is over its time, so that there is nothing to trim; no read gives it."""

    async def test_nothing_that_is_needed_is_garbage(self, w: world.World) -> None:
        await w.shown("one")
        await w.put("two")
        w.time.advance(40 * DAY_SECONDS)
        assert await w.collect() == []

    async def test_a_superseded_revision_and_its_build_go_with_their_version(self, w: world.World) -> None:
        one = await w.put("one", blob="raw/1")
        await w.index(one)
        await w.index(await w.put("two"))
        assert await w.collect() == []
        await w.remove_all()
        deployment = await w.database.registry.deployment()
        build = w.intent(one).build
        blob = identity.build_blob_key(deployment, w.collection.uid, pipe=world.A.pipe, build=build)
        assert await w.collect() == [
            ports.Garbage(w.key(), ("raw/1",), revision=one),
            ports.Garbage(w.key(), (blob,), build=(world.A.pipe, build)),
        ]
        assert await w.collect() == []
        assert (await w.look()).revision(one) is None

    async def test_a_revision_that_was_never_built_is_garbage_once_a_later_one_is_shown(self, w: world.World) -> None:
        one = await w.put("one")
        await w.index(await w.put("two"))
        assert world.seqs(await w.collect()) == [one]

    async def test_a_blob_that_a_patched_revision_names_too_is_kept(self, w: world.World) -> None:
        one = await w.put("one", blob="raw/1")
        await w.index(one)
        two = (await w.patch(team="legal")).seq
        await w.index(two)
        await w.remove_all()
        garbage = await w.collect()
        assert [item.blobs for item in garbage if item.revision == one] == [()]
        assert await w.healing.owned_blobs(w.collection.uid, ["raw/1"]) == {"raw/1"}
        await w.delete()
        w.time.advance(600)
        assert [item.blobs for item in await w.collect() if item.revision == two] == [("raw/1",)]

    async def test_a_build_that_a_later_version_names_is_kept(self, w: world.World) -> None:
        one = await w.shown()
        build = (await w.versions())[one, world.A.pipe].build
        two = (await w.patch(team="legal")).seq
        await w.ledger.intend([ledger.Intent(w.key(), two, world.A.pipe, build, "", 2, None)])
        await w.settle(two)
        await w.remove_all()
        assert [item.build for item in await w.collect() if item.build] == []
        assert await w.ledger.chunks(w.key(), seq=two, pipe=world.A.pipe) == list(world.chunks(2))

    async def test_the_text_of_a_deleted_document_goes_after_ten_minutes(self, w: world.World) -> None:
        seq = await w.shown()
        await w.delete()
        w.time.advance(599)
        assert await w.collect() == []
        w.time.advance(1)
        assert world.seqs(await w.collect()) == [seq]

    async def test_what_was_replaced_before_it_was_shown_goes_though_the_newest_failed(self, w: world.World) -> None:
        shown = await w.shown("zero")
        lost = await w.put("one")
        newest = await w.put("two")
        await w.ledger.fail(ledger.Failure(w.key(), newest, world.A.pipe, Reason.UNPARSABLE, "", permanent=True))
        assert world.seqs(await w.collect()) == [lost]
        assert [r.seq for r in (await w.look()).revisions] == [shown, newest]
        assert await w.ledger.retry(w.key(), actor="ann", request_id="r") is not None
        assert (await w.index(newest)).flipped

    async def test_what_may_still_be_shown_is_kept_though_it_was_replaced(self, w: world.World) -> None:
        one = await w.put("one")
        await w.intend(one)
        await w.put("two")
        assert await w.collect() == []
        assert (await w.settle(one)).flipped

    async def test_a_tombstone_of_what_never_was_ends_too(self, s: world.World) -> None:
        await s.delete(version=7)
        s.time.advance(31 * DAY_SECONDS)
        await s.healing.swept(s.collection.uid, began_at=s.time.now())
        s.time.advance(3600)
        assert await s.collect() == [ports.Garbage(s.key(), purge=True)]

    async def test_chunks_and_builds_of_a_deleted_document_go_with_its_vectors(self, w: world.World) -> None:
        seq = await w.shown()
        await w.delete()
        await w.remove_all()
        assert [item.build for item in await w.collect() if item.build] == [(world.A.pipe, w.intent(seq).build)]
        assert await w.ledger.chunks(w.key(), seq=seq, pipe=world.A.pipe) == []

    async def test_a_tombstone_stays_a_month_and_until_a_later_sweep_has_passed(self, w: world.World) -> None:
        await w.shown()
        await w.delete()
        began_before = w.time.now()
        await w.remove_all()
        await w.collect()
        w.time.advance(29 * DAY_SECONDS)
        assert await w.collect() == []
        w.time.advance(2 * DAY_SECONDS)
        await w.healing.swept(w.collection.uid, began_at=began_before)
        assert await w.collect() == []
        await w.healing.swept(w.collection.uid, began_at=w.time.now())
        w.time.advance(3600)
        assert await w.collect() == [ports.Garbage(w.key(), purge=True)]
        assert await w.ledger.rows([w.key()]) == [None]

    async def test_a_tombstone_whose_vectors_are_not_gone_stays(self, w: world.World) -> None:
        await w.shown()
        await w.delete()
        w.time.advance(31 * DAY_SECONDS)
        await w.healing.swept(w.collection.uid, began_at=w.time.now())
        w.time.advance(3600)
        assert not any(item.purge for item in await w.collect())

    async def test_sequence_numbers_go_on_after_a_purge(self, w: world.World) -> None:
        await w.put()
        last = (await w.delete()).seq
        w.time.advance(31 * DAY_SECONDS)
        await w.healing.swept(w.collection.uid, began_at=w.time.now())
        w.time.advance(3600)
        while await w.collect():
            pass
        assert await w.ledger.rows([w.key()]) == [None]
        assert await w.put() > last

    async def test_what_is_needed_again_is_not_forgotten(self, w: world.World) -> None:
        await w.shown("one")
        await w.delete()
        w.time.advance(600)
        garbage = await w.healing.garbage(limit=10)
        seq = await w.put("back")
        await w.healing.forget(garbage)
        assert (await w.look()).revision(seq) is not None
        await w.healing.forget([ports.Garbage(w.key(), revision=seq), ports.Garbage(w.key(), purge=True)])
        assert (await w.look()).revision(seq) is not None

    async def test_a_deleted_collection_is_erased_page_by_page(self, w: world.World) -> None:
        for number in range(5):
            await w.shown("text", f"doc-{number}")
        await w.build()
        await w.database.registry.delete_collection(w.collection.uid)
        uid = w.collection.uid
        assert await w.healing.retired() == [
            ports.Retired(uid, world.TENANT, tuple(sorted((world.A.pipe, world.B.pipe))))
        ]
        for call in (w.healing.stuck, w.healing.removals, w.healing.garbage):
            assert await call(limit=10) == []
        done = [await w.healing.erase(uid, limit=2) for _ in range(8)]
        assert (done[0], done[-1]) == (False, True)
        assert [each.uid for each in await w.healing.retired()] == [uid]  # somebody may write for it yet
        w.time.advance(DAY_SECONDS)
        assert await w.healing.erase(uid, limit=2)
        assert await w.healing.retired() == []
        assert sum((await w.ledger.counts(world.TENANT)).values()) == 0

    async def test_a_living_collection_is_not_erased(self, w: world.World) -> None:
        await w.shown()
        await w.healing.erase(w.collection.uid, limit=10)
        assert (await w.row()).live

    async def test_events_and_steps_are_dropped_when_they_are_over_their_time(self, w: world.World) -> None:
        old = w.change("one")
        await w.accept(old)
        w.time.advance(6 * DAY_SECONDS)
        young = w.change("two")
        await w.accept(young)
        w.time.advance(1.5 * DAY_SECONDS)
        assert await w.healing.trim(limit=10) == (0 if self.drops_by_itself else 1)
        uid = w.collection.uid
        assert await w.ledger.event(uid, source="api", event_id=old.event.event_id) is None
        assert await w.ledger.event(uid, source="api", event_id=young.event.event_id) is not None
        w.time.advance(30 * DAY_SECONDS)
        assert (await w.healing.trim(limit=1) > 0) is not self.drops_by_itself
        assert (await w.healing.trim(limit=10) > 0) is not self.drops_by_itself
        assert await w.healing.trim(limit=10) == 0
        assert await w.ledger.event(uid, source="api", event_id=young.event.event_id) is None
        assert await w.database.history.timeline(w.key()) == []


class HealingContract(Waiting, Rebuilding, Collecting, healing_owning.Owning, healing_backlog.Counting):
    """Every adapter passes these unchanged."""

    @pytest.fixture
    async def w(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """A collection ordered by arrival."""
        return await world.make(database, time)

    @pytest.fixture
    async def s(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """A collection ordered by the source's version."""
        return await world.make(database, time, ordering=Ordering.SOURCE, name="sourced")

    async def test_its_clock_is_the_ledgers(self, w: world.World) -> None:
        before = await w.healing.now()
        w.time.advance(7)
        assert await w.healing.now() == before + 7
        assert (await w.accept(w.change("text", meta=Meta()))).row is not None
