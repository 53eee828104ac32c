"""What `ports.ledger` promises about changes and work, as tests; `LedgerContract` is the whole.

Subclass it and supply the fixtures `database` (the four ports of one database) and `time` (its clock).
"""

import asyncio
from dataclasses import replace

import pytest

from bloomweaver.domain import steps
from bloomweaver.domain.documents import Meta, Ordering, State
from bloomweaver.domain.events import Accepted, Expect, Lane, Outcome, Rejected
from bloomweaver.domain.identity import BuildId, CollectionUid, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import ledger_failing, ledger_searching, world


class Accepting:
    """R1 to R4."""

    async def test_what_was_sent_is_found_again(self, w: world.World) -> None:
        answer = await w.accept(w.change("text"))
        look = await w.look()
        assert (answer.outcome, answer.row, answer.seq) == (Outcome.CREATED, look.row, look.row.seq)
        sent = look.revision(answer.seq)
        assert sent is not None
        assert sent.content == world.content("text")
        assert sent.meta == Meta(title="T", metadata={"team": "hr", "tags": ("a", "b")})
        assert (sent.origin, sent.actor, sent.request_id) == ("api", "key:test", "req-1")
        assert (sent.occurred_at, sent.accepted_at) == ("2026-01-01T00:00:00Z", w.time.now())

    async def test_an_accepted_change_says_where_the_document_goes(self, w: world.World) -> None:
        answer = await w.accept(w.change("text"))
        assert [(s.lane, s.seq, s.pipe, s.space) for s in answer.steps] == [
            (Lane.CHANGE, answer.seq, world.A.pipe, world.A.space)
        ]

    async def test_an_unknown_collection_is_refused(self, w: world.World) -> None:
        change = w.change("text")
        assert await w.refused(replace(change, collection="nowhere")) == Reason.COLLECTION_NOT_FOUND
        assert await w.refused(replace(change, tenant=TenantId("other"))) == Reason.COLLECTION_NOT_FOUND

    async def test_a_change_stored_for_another_collection_of_that_name_is_refused(self, w: world.World) -> None:
        change = replace(w.change("text"), collection_uid=CollectionUid("gone"))
        assert await w.refused(change) == Reason.COLLECTION_NOT_FOUND

    async def test_the_same_event_again_gives_the_stored_answer_and_changes_nothing(self, w: world.World) -> None:
        change = w.change("one")
        first = await w.accept(change)
        await w.put("two")
        before = await w.look()
        again = await w.accept(change)
        assert (again.outcome, again.original, again.seq) == (Outcome.DUPLICATE, Outcome.CREATED, first.seq)
        assert again.row == before.row
        assert await w.look() == before

    async def test_an_event_id_used_for_another_change_is_refused(self, w: world.World) -> None:
        await w.accept(w.change("one", event_id="same"))
        assert await w.refused(w.change("two", event_id="same")) == Reason.EVENT_ID_REUSED
        other = w.change("two", event_id="same")
        taken = await w.accept(replace(other, event=replace(other.event, source="another")))
        assert taken.outcome is Outcome.UPDATED

    async def test_changes_of_one_call_apply_in_order_and_singly(self, w: world.World) -> None:
        reused = w.change("one", event_id="same")
        answers = await w.ledger.accept(
            [reused, w.change("two"), w.change("x", event_id="same"), w.change(None), w.change("three")]
        )
        kinds = [a.outcome if isinstance(a, Accepted) else a.refusal.reason for a in answers]
        assert kinds == [
            Outcome.CREATED,
            Outcome.UPDATED,
            Reason.EVENT_ID_REUSED,
            Outcome.DELETED,
            Outcome.CREATED,
        ]
        taken = [a.seq for a in answers if isinstance(a, Accepted)]
        assert taken == sorted(set(taken))

    async def test_a_refused_change_stores_nothing(self, w: world.World) -> None:
        refused = w.change("text", expect=Expect(seq=7))
        assert await w.refused(refused) == Reason.PRECONDITION_FAILED
        assert await w.ledger.rows([w.key()]) == [None]
        assert await w.ledger.event(w.collection.uid, source="api", event_id=refused.event.event_id) is None

    async def test_the_outcome_of_an_event_is_kept(self, w: world.World) -> None:
        change = w.change("text", batch_id="b1")
        answer = await w.accept(change)
        stored = await w.ledger.event(w.collection.uid, source="api", event_id=change.event.event_id)
        assert stored is not None
        assert (stored.document_id, stored.identity, stored.outcome) == (
            change.document_id,
            change.event,
            Outcome.CREATED,
        )
        assert (stored.seq, stored.actor, stored.at, stored.batch_id) == (answer.seq, "key:test", w.time.now(), "b1")

    async def test_a_metadata_edit_keeps_the_content(self, w: world.World) -> None:
        first = await w.put("text", blob="raw/1")
        answer = await w.patch(team="legal")
        look = await w.look()
        old, new = look.revision(first), look.revision(answer.seq)
        assert answer.outcome is Outcome.METADATA_ONLY
        assert new is not None
        assert old is None or old.content == new.content
        assert new.content == world.content("text", blob="raw/1")
        assert new.meta.metadata == {"team": "legal", "tags": ("a", "b")}
        assert not answer.keeps_blob

    async def test_a_blob_is_kept_only_by_the_change_that_took_a_seq(self, w: world.World) -> None:
        assert (await w.accept(w.change("text", blob="raw/1"))).keeps_blob
        assert not (await w.accept(w.change("text", blob="raw/2"))).keeps_blob

    async def test_a_delete_hides_at_once_and_sends_the_versions_to_die(self, w: world.World) -> None:
        await w.shown()
        answer = await w.delete()
        row = await w.row()
        assert (answer.outcome, answer.state, row.live, row.tomb) == (Outcome.DELETED, State.DELETED, 0, True)
        assert [s.lane for s in answer.steps] == [Lane.DELETE]
        assert set((await w.states()).values()) == {"dead"}

    async def test_a_sequence_number_is_never_used_twice(self, w: world.World) -> None:
        taken = [await w.put(f"text {n}", f"doc-{n % 2}") for n in range(5)]
        taken.append((await w.delete("doc-0")).seq)
        taken.append(await w.put("again", "doc-0"))
        assert taken == sorted(set(taken))

    async def test_concurrent_changes_of_one_document_take_distinct_rising_numbers(self, w: world.World) -> None:
        changes = [w.change(f"text {n}") for n in range(40)]
        answers = [a for (a,) in await asyncio.gather(*(w.ledger.accept([c]) for c in changes))]
        taken = [a.seq for a in answers if isinstance(a, Accepted)]
        assert len(set(taken)) == 40
        assert (await w.row()).seq == max(taken)

    async def test_of_concurrent_deliveries_of_one_event_one_is_taken(self, w: world.World) -> None:
        change = w.change("text")
        answers = [a for (a,) in await asyncio.gather(*(w.ledger.accept([change]) for _ in range(20)))]
        outcomes = [a.outcome for a in answers if isinstance(a, Accepted)]
        assert sorted(outcomes) == sorted([Outcome.CREATED] + [Outcome.DUPLICATE] * 19)

    async def test_of_concurrent_writers_with_the_same_precondition_one_wins(self, w: world.World) -> None:
        seq = await w.put("text")
        changes = [w.change(f"text {n}", expect=Expect(seq=seq)) for n in range(10)]
        answers = [a for (a,) in await asyncio.gather(*(w.ledger.accept([c]) for c in changes))]
        assert sum(isinstance(a, Rejected) for a in answers) == 9


class Ordered:
    """R3 in a collection that is ordered by the source's version."""

    async def test_an_older_version_changes_nothing(self, s: world.World) -> None:
        seq = await s.put("new", version=9)
        answer = await s.accept(s.change("old", version=5))
        assert (answer.outcome, answer.reason) == (Outcome.SUPERSEDED, Reason.OLDER_THAN_CURRENT)
        assert (await s.row()).seq == seq

    async def test_news_that_affirm_raise_the_order_key_of_what_they_affirm(self, s: world.World) -> None:
        seq = await s.put("text", version=5)
        await s.index(seq)
        assert (await s.accept(s.change("text", version=9))).outcome is Outcome.UNCHANGED
        late = await s.delete(version=7)
        look = await s.look()
        revision = look.revision(seq)
        assert revision is not None
        assert (look.row.src, revision.src) == (9, 9)
        assert (late.outcome, look.row.live) == (Outcome.SUPERSEDED, seq)

    async def test_a_late_delete_hides_what_it_deleted(self, s: world.World) -> None:
        old = await s.put("old", version=5)
        await s.index(old)
        new = await s.put("new", version=9)
        await s.delete(version=7)
        row = await s.row()
        assert (row.live, row.fsrc, row.seq, row.tomb) == (0, 7, new, False)
        assert (await s.states())[old] == "dead"
        assert (await s.index(new)).flipped

    async def test_what_a_late_delete_deleted_is_never_shown_when_it_becomes_ready_later(self, s: world.World) -> None:
        old = await s.put("old", version=5)
        await s.intend(old)
        await s.put("new", version=9)
        await s.delete(version=7)
        assert not (await s.settle(old)).flipped
        assert (await s.states())[old] == "dead"


class Building:
    """R5 to R8."""

    async def test_the_first_intent_wins(self, w: world.World) -> None:
        seq = await w.put()
        first = w.intent(seq)
        (won,) = await w.ledger.intend([first])
        (lost,) = await w.ledger.intend([replace(first, build=BuildId("another"))])
        (again,) = await w.ledger.intend([first])
        assert (won.won, lost.won, again.won) == (True, False, True)
        assert lost.version == won.version == again.version
        assert (await w.row()).state is State.INDEXING

    async def test_of_concurrent_intents_one_wins(self, w: world.World) -> None:
        intent = w.intent(await w.put())
        intents = [replace(intent, build=BuildId(f"b{n}")) for n in range(20)]
        answers = await asyncio.gather(*(w.ledger.intend([i]) for i in intents))
        assert sum(a.won for (a,) in answers) == 1
        assert len({a.version.build for (a,) in answers if a.version is not None}) == 1

    async def test_work_that_nobody_wants_is_not_begun(self, w: world.World) -> None:
        old = await w.put("one")
        await w.put("two")
        unknown = replace(w.intent(old), key=w.key("unknown"))
        elsewhere = w.intent((await w.row()).seq, pipe=world.B.pipe)
        for intent in (w.intent(old), unknown, elsewhere):
            (answer,) = await w.ledger.intend([intent])
            assert (answer.won, answer.version) == (False, None)

    async def test_a_build_is_used_again_while_a_version_names_it(self, w: world.World) -> None:
        first = await w.shown()
        build = (await w.versions())[first, world.A.pipe].build
        second = (await w.patch(team="legal")).seq
        (answer,) = await w.ledger.intend([replace(w.intent(second), build=build, chunks=None)])
        assert answer.won
        assert (await w.settle(second)).flipped
        assert await w.ledger.chunks(w.key(), seq=second, pipe=world.A.pipe) == list(world.chunks(2))

    async def test_a_build_that_is_being_collected_is_not_used_again(self, w: world.World) -> None:
        first = await w.shown("one")
        await w.index(await w.put("two"))
        await w.remove_all()
        third = await w.put("three")
        build = w.intent(first).build
        (answer,) = await w.ledger.intend([replace(w.intent(third), build=build, chunks=None)])
        assert (answer.won, answer.version) == (False, None)

    async def test_a_settlement_shows_the_document(self, w: world.World) -> None:
        seq = await w.put()
        await w.intend(seq)
        w.time.advance(3)
        settled = await w.settle(seq)
        assert (settled.flipped, settled.waited_seconds, settled.steps) == (True, 3.0, ())
        assert settled.row == await w.row()
        assert settled.row is not None
        assert (settled.row.live, settled.row.shown_at, settled.row.state) == (seq, w.time.now(), State.SEARCHABLE)
        assert await w.states() == {seq: "live"}

    async def test_settling_twice_changes_nothing(self, w: world.World) -> None:
        seq = await w.shown()
        before = await w.look()
        settled = await w.settle(seq)
        assert not settled.flipped
        assert await w.look() == before

    async def test_what_documents_need_is_asked_for_many_at_once(self, w: world.World) -> None:
        fresh = await w.put("new", "fresh")
        for name in ("edited", "shown", "deleted"):
            await w.shown("text", name)
        edited = (await w.patch("edited", team="legal")).seq
        deleted = (await w.delete("deleted")).seq
        names = ("fresh", "edited", "shown", "unknown", "deleted", "fresh")
        needed = await w.ledger.needed([w.key(name) for name in names])
        change = (Lane.CHANGE, fresh, world.A.pipe)
        assert [[(s.lane, s.seq, s.pipe) for s in each] for each in needed] == [
            [change],
            [(Lane.UPDATE, edited, world.A.pipe)],
            [],
            [],
            [(Lane.DELETE, deleted, world.A.pipe)],
            [change],
        ]
        assert await w.ledger.needed([]) == []
        elsewhere = replace(w.key("fresh"), collection_uid=CollectionUid("unknown"))
        assert await w.ledger.needed([elsewhere]) == [()]

    async def test_what_documents_need_is_what_a_look_says(self, w: world.World) -> None:
        await w.index(await w.put())
        await w.build()
        look = await w.look()
        (needed,) = await w.ledger.needed([w.key()])
        assert needed == steps.next_steps(look.row, look.versions, look.generation)
        assert [(step.lane, step.pipe) for step in needed] == [(Lane.CHANGE, world.B.pipe)]

    async def test_a_flip_kills_what_is_below_it(self, w: world.World) -> None:
        one = await w.shown("one")
        two = await w.put("two")
        await w.intend(two)
        three = await w.put("three")
        await w.index(three)
        assert await w.states() == {one: "dead", two: "dead", three: "live"}

    async def test_an_older_version_never_replaces_a_newer_one(self, w: world.World) -> None:
        one = await w.put("one")
        await w.intend(one)
        await w.index(await w.put("two"))
        before = await w.row()
        assert not (await w.settle(one)).flipped
        assert await w.row() == before

    async def test_an_older_version_is_shown_while_the_newer_one_is_not_ready(self, w: world.World) -> None:
        one = await w.put("one")
        await w.intend(one)
        await w.put("two")
        assert (await w.settle(one)).flipped
        assert (await w.row()).state is State.UPDATING

    async def test_a_deleted_document_is_never_shown_again(self, w: world.World) -> None:
        seq = await w.put()
        await w.intend(seq)
        await w.delete()
        assert not (await w.settle(seq)).flipped
        (answer,) = await w.ledger.intend([w.intent(seq)])
        assert not answer.won
        assert (await w.row()).live == 0

    async def test_a_settlement_of_another_generation_does_not_flip(self, w: world.World) -> None:
        seq = await w.put()
        await w.intend(seq)
        await w.build(world.B)
        await w.build(None)
        assert not (await w.settle(seq, epoch=1)).flipped
        await w.healing.stuck(limit=10)
        assert (await w.row()).live == seq

    async def test_a_document_flips_only_when_every_current_pipeline_has_it(self, w: world.World) -> None:
        await w.build()
        seq = await w.put()
        first = await w.index(seq)
        assert not first.flipped
        assert [(s.lane, s.pipe) for s in first.steps] == [(Lane.CHANGE, world.B.pipe)]
        assert (await w.index(seq, pipe=world.B.pipe)).flipped

    async def test_a_version_without_chunks_is_shown_with_a_reason(self, w: world.World) -> None:
        seq = await w.put()
        assert (await w.index(seq, count=0)).flipped
        assert (await w.row()).reason is Reason.NO_TEXT

    async def test_racing_workers_and_clients_never_show_what_is_deleted_or_old(self, w: world.World) -> None:
        async def client(n: int) -> None:
            await w.put(f"text {n}")
            if n % 3 == 0:
                await w.delete()

        async def worker() -> None:
            for _ in range(12):
                (look,) = await w.ledger.look([w.key()])
                if look is not None and not look.row.tomb:
                    await w.index(look.row.seq)

        await asyncio.gather(*(client(n) for n in range(20)), *(worker() for _ in range(4)))
        final = await w.put("last")
        await w.index(final)
        assert (await w.row()).live == final
        states = await w.states()
        assert [seq for seq, state in states.items() if state == "live"] == [final]
        assert not any(state in ("ready", "intent") for state in states.values())


class LedgerContract(Accepting, Ordered, Building, ledger_failing.Failing, ledger_searching.Searching):
    """Every adapter passes these unchanged."""

    @pytest.fixture
    async def w(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """A collection ordered by arrival."""
        return await world.make(database, time)

    @pytest.fixture
    async def s(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """A collection ordered by the source's version."""
        return await world.make(database, time, ordering=Ordering.SOURCE, name="sourced")
