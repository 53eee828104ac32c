"""What `ports.healing` promises about the backlog, by which workers are scaled."""

from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger
from bloomweaver.testing.contracts import world

CHANGE_A = f"change:{world.A.space}"


class Counting:
    """`backlog`."""

    async def backlog(self, w: world.World) -> dict[str, int]:
        return {waiting.lane: waiting.documents for waiting in await w.healing.backlog()}

    async def test_the_backlog_counts_what_waits_in_each_lane_at_once(self, w: world.World) -> None:
        assert await self.backlog(w) == {}
        one, _ = await w.put("text", "one"), await w.put("text", "two")
        assert await self.backlog(w) == {CHANGE_A: 2}
        await w.intend(one, document="one")
        assert await self.backlog(w) == {CHANGE_A: 1, "create": 1}
        assert await self.backlog(w) == {CHANGE_A: 1, "create": 1}

    async def test_the_backlog_is_empty_when_everything_is_where_it_should_be(self, w: world.World) -> None:
        await w.shown()
        assert await self.backlog(w) == {}
        await w.delete()
        w.time.advance(60)
        assert set(await self.backlog(w)) == {"delete"}

    async def test_a_failed_document_is_no_backlog(self, w: world.World) -> None:
        seq = await w.put()
        await w.ledger.fail(ledger.Failure(w.key(), seq, world.A.pipe, Reason.UNPARSABLE, "", permanent=True))
        assert await self.backlog(w) == {}

    async def test_vectors_that_are_due_to_go_are_backlog_of_the_delete_lane(self, w: world.World) -> None:
        await w.shown("one")
        await w.index(await w.put("two"))
        assert await self.backlog(w) == {}
        w.time.advance(60)
        assert await self.backlog(w) == {"delete": 1}

    async def test_the_backlog_tells_which_writer_comes_next_where_it_can(self, w: world.World) -> None:
        both = (True, True)
        first = await w.put("text", "one")
        (waiting,) = await w.healing.backlog()
        assert (waiting.new, waiting.shown) in {(True, False), both}
        await w.shown("text", "two")
        await w.put("other text", "two")
        (waiting,) = await w.healing.backlog()
        assert (waiting.documents, waiting.new, waiting.shown) == (2, *both)
        await w.index(first, "one")
        (waiting,) = [one for one in await w.healing.backlog() if one.lane == CHANGE_A]
        assert (waiting.new, waiting.shown) in {(False, True), both}

    async def test_the_backlog_tells_how_much_text_waits_where_it_can(self, w: world.World) -> None:
        await w.put("x" * 1000)
        await w.put("x" * 3000, "other")
        (waiting,) = await w.healing.backlog()
        assert waiting.bytes in {0, 4000}
