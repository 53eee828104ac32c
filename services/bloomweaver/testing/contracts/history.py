"""What `ports.history` promises, as tests. Subclass `HistoryContract` and supply the fixtures `database` and `time`."""

import pytest

from bloomweaver.domain.identity import TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history as ports
from bloomweaver.ports import ledger
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world

DAY_SECONDS = 86_400.0


class HistoryContract:
    """Every adapter passes these unchanged."""

    @pytest.fixture
    async def w(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """A collection ordered by arrival."""
        return await world.make(database, time)

    async def steps(self, w: world.World, document: str = world.DOCUMENT) -> list[str]:
        return [step.step.value for step in await w.database.history.timeline(w.key(document))]

    async def failed(self, w: world.World, document: str, reason: Reason = Reason.UNPARSABLE) -> None:
        seq = await w.put("text", document)
        await w.ledger.fail(ledger.Failure(w.key(document), seq, world.A.pipe, reason, "page 3", permanent=True))

    async def test_a_timeline_tells_a_life_from_the_oldest_step_on(self, w: world.World) -> None:
        await w.shown()
        await w.delete()
        await w.remove_all()
        expected = ["accepted", "embedded", "confirmed", "shown", "hidden", "accepted", "removed"]
        assert await self.steps(w) == expected

    async def test_a_step_says_who_when_and_why(self, w: world.World) -> None:
        answer = await w.accept(w.change("text"))
        (step,) = await w.database.history.timeline(w.key())
        assert step == ports.TimelineStep(
            w.time.now(),
            ports.StepName.ACCEPTED,
            answer.seq,
            detail="created",
            actor="key:test",
            request_id="req-1",
        )

    async def test_failures_and_retries_are_told(self, w: world.World) -> None:
        await self.failed(w, world.DOCUMENT)
        await w.ledger.retry(w.key(), actor="ann", request_id="r")
        told = (await w.database.history.timeline(w.key()))[-2:]
        assert [(s.step, s.reason, s.detail, s.actor) for s in told] == [
            (ports.StepName.FAILED, Reason.UNPARSABLE, "page 3", ""),
            (ports.StepName.RETRIED, Reason.REDRIVEN, "", "ann"),
        ]

    async def test_a_note_is_added(self, w: world.World) -> None:
        seq = await w.put()
        noted = ports.TimelineStep(
            w.time.now(), ports.StepName.EXTRACTED, seq, "pipe", Reason.NO_TEXT, "3 pages", "x", "r"
        )
        await w.database.history.note(w.key(), noted)
        await w.database.history.note(w.key("unknown"), noted)
        assert (await w.database.history.timeline(w.key()))[-1] == noted
        assert await w.database.history.timeline(w.key("unknown")) == []

    async def test_a_change_that_changes_nothing_is_no_step(self, w: world.World) -> None:
        await w.put("text")
        await w.put("text")
        assert await self.steps(w) == ["accepted"]

    async def test_only_the_last_fifty_steps_are_kept(self, w: world.World) -> None:
        for number in range(70):
            await w.put(f"text {number}")
        timeline = await w.database.history.timeline(w.key())
        assert len(timeline) == 50
        assert timeline[-1].seq == (await w.row()).seq

    async def test_steps_end_after_a_month(self, w: world.World) -> None:
        await w.put("one")
        w.time.advance(29 * DAY_SECONDS)
        last = await w.put("two")
        w.time.advance(2 * DAY_SECONDS)
        assert [step.seq for step in await w.database.history.timeline(w.key())] == [last]

    async def test_no_step_holds_text_of_the_document(self, w: world.World) -> None:
        await w.shown("a canary in the text")
        await w.patch(team="a canary in the metadata")
        assert "canary" not in repr(await w.database.history.timeline(w.key()))

    async def test_dead_letters_are_failed_documents_in_order(self, w: world.World) -> None:
        other = await world.make(w.database, w.time, name="another")
        for document in ("b", "a"):
            await self.failed(w, document)
            await self.failed(other, document, Reason.TEXT_TOO_LONG)
        await w.put("fine", "c")
        letters = await w.database.history.dead_letters(world.TENANT)
        named = [(letter.collection, letter.row.key.document_id) for letter in letters]
        assert named == [("another", "a"), ("another", "b"), ("handbook", "a"), ("handbook", "b")]
        assert letters[2].row == await w.row("a")

    async def test_dead_letters_can_be_narrowed_and_paged(self, w: world.World) -> None:
        other = await world.make(w.database, w.time, name="another")
        for document in ("a", "b/c", "d"):
            await self.failed(w, document)
        await self.failed(other, "a", Reason.TEXT_TOO_LONG)
        history = w.database.history
        found: list[str] = []
        after = ""
        while page := await history.dead_letters(world.TENANT, after=after, limit=1):
            after = f"{page[0].collection}/{page[0].row.key.document_id}"
            found.append(after)
        assert found == ["another/a", "handbook/a", "handbook/b/c", "handbook/d"]
        assert len(await history.dead_letters(world.TENANT, reason=Reason.TEXT_TOO_LONG)) == 1
        assert len(await history.dead_letters(world.TENANT, uid=w.collection.uid)) == 3
        assert await history.dead_letters(TenantId("other")) == []
