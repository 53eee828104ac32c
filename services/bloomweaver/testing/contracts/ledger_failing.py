"""What `ports.ledger` promises about work that does not succeed, and about vectors that have to go, as tests."""

from dataclasses import replace

from bloomweaver.domain.documents import State
from bloomweaver.domain.events import Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger as ports
from bloomweaver.testing.contracts import world


class Failing:
    """Postponing, failing and trying again."""

    def failure(self, w: world.World, seq: int, **changes: object) -> ports.Failure:
        made = ports.Failure(w.key(), seq, world.A.pipe, Reason.EMBEDDING_FAILED, "why", permanent=False)
        return replace(made, **changes)  # type: ignore[arg-type]  # fields by name, from one test to the next

    async def test_a_document_fails_after_its_tries(self, w: world.World) -> None:
        seq = await w.put()
        delays = []
        for _ in range(5):
            delays.append(await w.ledger.fail(self.failure(w, seq)))
            w.time.advance(delays[-1] or 0.0)
        row = await w.row()
        assert delays == [1.0, 5.0, 30.0, 120.0, None]
        assert (row.state, row.reason, row.detail, row.attempts) == (State.FAILED, Reason.EMBEDDING_FAILED, "why", 5)
        assert (row.next_try, row.first_failure_at, row.last_failure_at) == (None, w.time.now() - 156, w.time.now())

    async def test_two_receipts_of_one_hint_that_fail_are_one_try(self, w: world.World) -> None:
        seq = await w.put()
        assert await w.ledger.fail(self.failure(w, seq)) == 1.0
        before = await w.row()
        w.time.advance(0.25)
        assert await w.ledger.fail(self.failure(w, seq)) == 0.75
        assert await w.row() == before
        w.time.advance(0.75)
        assert await w.ledger.fail(self.failure(w, seq)) == 5.0
        assert (await w.row()).attempts == 2

    async def test_a_failure_counts_whatever_was_postponed_before(self, w: world.World) -> None:
        seq = await w.put()
        await w.ledger.postpone([w.key()], seq=seq, reason=Reason.THROTTLED, delay_seconds=90.0)
        assert await w.ledger.fail(self.failure(w, seq)) == 1.0
        await w.ledger.postpone([w.key()], seq=seq, reason=Reason.THROTTLED, delay_seconds=90.0)
        w.time.advance(1.0)
        assert await w.ledger.fail(self.failure(w, seq)) == 5.0

    async def test_a_permanent_failure_between_two_tries_is_final(self, w: world.World) -> None:
        seq = await w.put()
        await w.ledger.fail(self.failure(w, seq))
        assert await w.ledger.fail(self.failure(w, seq, permanent=True)) is None
        assert (await w.row()).state is State.FAILED

    async def test_a_permanent_failure_is_final_at_once(self, w: world.World) -> None:
        seq = await w.put()
        assert await w.ledger.fail(self.failure(w, seq, permanent=True)) is None
        assert (await w.row()).state is State.FAILED

    async def test_a_failure_of_work_that_nobody_wants_any_more_is_ignored(self, w: world.World) -> None:
        old = await w.put("one")
        await w.put("two")
        before = await w.row()
        assert await w.ledger.fail(self.failure(w, old)) is None
        assert await w.ledger.fail(self.failure(w, before.seq, pipe=world.B.pipe)) is None
        assert await w.row() == before

    async def test_new_content_forgets_the_failure_of_the_old(self, w: world.World) -> None:
        await w.ledger.fail(self.failure(w, await w.put("one"), permanent=True))
        await w.put("two")
        row = await w.row()
        assert (row.state, row.attempts, row.reason) == (State.PENDING, 0, None)

    async def test_a_failure_in_a_pipeline_that_is_not_active_does_not_fail_the_document(self, w: world.World) -> None:
        await w.build()
        seq = await w.put()
        await w.index(seq)
        assert await w.ledger.fail(self.failure(w, seq, pipe=world.B.pipe, permanent=True)) is None
        row = await w.row()
        assert (row.state, row.live) == (State.SEARCHABLE, seq)
        assert (await w.versions())[seq, world.B.pipe].state == "failed"

    async def test_a_failed_document_is_tried_again_from_the_beginning(self, w: world.World) -> None:
        seq = await w.put()
        await w.intend(seq)
        await w.ledger.fail(self.failure(w, seq, permanent=True))
        answer = await w.ledger.retry(w.key(), actor="ann", request_id="r")
        assert answer is not None
        assert [s.lane for s in answer.steps] == [Lane.CHANGE]
        assert (await w.row()).state is State.PENDING
        assert (await w.index(seq)).flipped

    async def test_only_a_failed_document_is_retried(self, w: world.World) -> None:
        await w.put()
        assert await w.ledger.retry(w.key(), actor="ann", request_id="r") is None
        assert await w.ledger.retry(w.key("unknown"), actor="ann", request_id="r") is None

    async def test_postponing_counts_nothing(self, w: world.World) -> None:
        seq = await w.put()
        await w.ledger.postpone([w.key()], seq=seq, reason=Reason.THROTTLED, delay_seconds=9.0)
        row = await w.row()
        assert (row.next_try, row.reason, row.attempts) == (w.time.now() + 9, Reason.THROTTLED, 0)
        await w.index(seq)
        row = await w.row()
        assert (row.next_try, row.reason) == (None, None)

    async def test_postponing_what_moved_on_is_ignored(self, w: world.World) -> None:
        old = await w.put("one")
        await w.put("two")
        before = await w.row()
        await w.ledger.postpone([w.key(), w.key("unknown")], seq=old, reason=Reason.THROTTLED, delay_seconds=9.0)
        assert await w.row() == before

    async def test_vectors_are_removed_twice_before_a_version_is_gone(self, w: world.World) -> None:
        one = await w.shown("one")
        await w.index(await w.put("two"))
        dead = (await w.versions())[one, world.A.pipe]
        await w.ledger.removed([dead])
        await w.ledger.removed([dead])  # the same call again is not a second removal
        assert (await w.states())[one] == "dead"
        await w.ledger.removed([(await w.versions())[one, world.A.pipe]])
        assert (await w.states())[one] == "gone"

    async def test_what_is_not_dead_is_not_removed(self, w: world.World) -> None:
        seq = await w.shown()
        live = (await w.versions())[seq, world.A.pipe]
        await w.ledger.removed([live, live])
        assert await w.states() == {seq: "live"}
