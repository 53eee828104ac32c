"""The loop that acks: only after what was asked for is durable, and no document pays for another."""

from collections.abc import Callable, Sequence

from bloomweaver.domain.documents import State
from bloomweaver.domain.errors import ConfigurationError, TransientError
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import Pipe
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues
from tests.support import pipelines


class Worker:
    """Does what the test says for every call, and remembers what it was given."""

    def __init__(self, behave: Callable[[Sequence[Hint]], list[queues.Trouble]]) -> None:
        self._behave = behave
        self.calls: list[list[str]] = []

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        self.calls.append([hint.document_id for hint in hints])
        return self._behave(hints)


async def test_a_hint_is_acked_when_it_is_done() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        pipe.workers[pipe.change_queue] = Worker(lambda hints: [])

        await pipe.work(pipe.change_queue)

        assert pipe.change_queue not in await pipe.store.queues.depths()


async def test_a_document_that_raises_what_nobody_foresaw_takes_no_other_along() -> None:
    def crash(hints: Sequence[Hint]) -> list[queues.Trouble]:
        if any(hint.document_id == "bad" for hint in hints):
            raise ZeroDivisionError
        return []

    async with pipelines.opened() as pipe:
        for name in ("a", "bad", "c", "d"):
            await pipe.put(name, "one two three")
        worker = pipe.workers[pipe.change_queue] = Worker(crash)

        await pipe.work(pipe.change_queue)

        assert ["bad"] in worker.calls
        assert ["c", "d"] in worker.calls
        row = (await pipe.look("bad")).row
        assert (row.attempts, row.reason) == (1, Reason.READER_CRASHED)
        assert (await pipe.look("a")).row.attempts == 0


async def test_an_outage_is_never_counted_however_often_it_is_met() -> None:
    def away(hints: Sequence[Hint]) -> list[queues.Trouble]:
        raise TransientError(Reason.VECTORS_UNAVAILABLE, retry_after_seconds=5.0)

    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        pipe.workers[pipe.change_queue] = Worker(away)

        for _ in range(3 * queues.MAX_RECEIVES):
            await pipe.work(pipe.change_queue)
            pipe.clock.advance(6.0)

        row = (await pipe.look("a")).row
        assert (row.attempts, row.state, row.reason) == (0, State.PENDING, Reason.VECTORS_UNAVAILABLE)
        assert (await pipe.store.queues.depths())[pipe.change_queue].dead == 0


async def test_a_hint_that_is_put_off_keeps_the_receipts_that_nobody_answered() -> None:
    def cannot(hints: Sequence[Hint]) -> list[queues.Trouble]:
        error = TransientError(Reason.PIPELINE_UNAVAILABLE, retry_after_seconds=5.0)
        return [queues.Trouble(hint, hint.seq, hint.pipe or Pipe(""), error) for hint in hints]

    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        for _ in range(2):  # received by readers that died of it
            await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0)
            pipe.clock.advance(2.0)
        pipe.workers[pipe.change_queue] = Worker(cannot)

        await pipe.work(pipe.change_queue)

        pipe.clock.advance(6.0)
        (renewed,) = await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0)
        assert (renewed.receives, renewed.hint.unanswered) == (1, 2)


async def test_a_hint_with_two_troubles_is_put_off_as_one() -> None:
    def cannot(hints: Sequence[Hint]) -> list[queues.Trouble]:
        waits = [TransientError(Reason.PIPELINE_UNAVAILABLE, retry_after_seconds=after) for after in (30.0, 5.0)]
        return [queues.Trouble(hint, hint.seq, Pipe(""), error) for hint in hints for error in waits]

    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        pipe.workers[pipe.change_queue] = Worker(cannot)
        for _ in range(4):
            await pipe.work(pipe.change_queue)
            pipe.clock.advance(6.0)

        assert (await pipe.store.queues.depths())[pipe.change_queue].total == 1


async def test_a_wrong_set_up_stops_the_loop_and_touches_no_row() -> None:
    def misconfigured(hints: Sequence[Hint]) -> list[queues.Trouble]:
        raise ConfigurationError(Reason.DIMENSION_MISMATCH, "the index has another dimension")

    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        before = (await pipe.look("a")).row
        pipe.workers[pipe.change_queue] = Worker(misconfigured)
        loop = pipe.consumer(pipe.change_queue)
        batch = await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=60.0)

        await loop.handle(batch)

        assert loop.progress.refused is not None
        assert (await pipe.look("a")).row == before
        assert (await pipe.store.queues.depths())[pipe.change_queue].visible == 1


async def test_a_hint_received_more_than_twice_is_processed_alone() -> None:
    async with pipelines.opened() as pipe:
        for name in ("a", "b"):
            await pipe.put(name, "one two three")
        worker = pipe.workers[pipe.change_queue] = Worker(lambda hints: [])
        for _ in range(4):
            await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0)
            pipe.clock.advance(2.0)
        await pipe.put("c", "one two three")

        await pipe.work(pipe.change_queue)

        assert worker.calls == [["c"], ["a"], ["b"]]


async def test_a_stopped_loop_ends_and_gives_back_what_it_holds() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        loop = pipe.consumer(pipe.change_queue)
        batch = await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=60.0)
        loop.stop()

        await loop.handle(batch)
        await loop.run()

        assert (await pipe.store.queues.depths())[pipe.change_queue].visible == 1
