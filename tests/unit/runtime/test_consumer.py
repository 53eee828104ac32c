"""The loop that acks: only after what was asked for is durable, and no document pays for another."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from bloomweaver.domain.documents import State
from bloomweaver.domain.errors import ConfigurationError, TransientError
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import Pipe
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues
from bloomweaver.runtime import consumer
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


class Receives:
    """Queues that remember how many hints each receive asked for, and how many each ack ended."""

    def __init__(self, inner: queues.Queues) -> None:
        self._inner = inner
        self.asked: list[int] = []
        self.acked: list[int] = []

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        self.asked.append(limit)
        await asyncio.sleep(0)  # others have their turn, as they do while a real store is asked
        return await self._inner.receive(queue, limit=limit, visibility_seconds=visibility_seconds)

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        self.acked.append(len(deliveries))
        await self._inner.ack(queue, deliveries)

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        await self._inner.send(queue, hints, delay_seconds=delay_seconds)

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        await self._inner.release(queue, deliveries, delay_seconds=delay_seconds)

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        await self._inner.extend(queue, deliveries, visibility_seconds=visibility_seconds)

    async def depths(self) -> dict[str, queues.Depth]:
        return await self._inner.depths()

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        return await self._inner.dead(queue, limit=limit)


def sifting(
    pipe: pipelines.Pipeline, received: queues.Queues, worker: queues.Worker, sift: consumer.Sift
) -> consumer.Consumer:
    """A loop of two hints a batch and two batches at once, which may receive eight where most are old."""
    pace = consumer.Pace(limit=2, handlers=2, sifted=8, wait_seconds=0.0, pause_seconds=0.0)
    return consumer.Consumer(
        queue=pipe.change_queue,
        queues=received,
        ledger=pipe.ledger,
        worker=worker,
        pace=pace,
        on_trouble=lambda reason: None,
        sift=sift,
    )


class Forgetful(Receives):
    """Its library loses a cancellation that meets the answer, as `asyncio.wait_for` did before Python 3.12."""

    def __init__(self, inner: queues.Queues) -> None:
        super().__init__(inner)
        self.extending = asyncio.Event()

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        self.extending.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_heartbeat_that_loses_its_cancellation_ends_with_the_work() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")

        class Slow:
            async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
                await received.extending.wait()
                loop.stop()
                return []

        received = Forgetful(pipe.store.queues)
        loop = consumer.Consumer(
            queue=pipe.change_queue,
            queues=received,
            ledger=pipe.ledger,
            worker=Slow(),
            pace=consumer.Pace(limit=2, handlers=1, visibility_seconds=0.003, wait_seconds=0.0),
            on_trouble=lambda reason: None,
        )

        await asyncio.wait_for(loop.run(), timeout=10)

        assert received.acked == [1]


async def test_old_hints_are_acked_together_and_the_next_receive_asks_for_more() -> None:
    async with pipelines.opened() as pipe:
        for number in range(21):
            await pipe.put("last" if number == 20 else f"old-{number}", "one two three")
        received = Receives(pipe.store.queues)

        def last(hints: Sequence[Hint]) -> list[queues.Trouble]:
            loop.stop()
            return []

        async def sift(hints: Sequence[Hint]) -> list[Hint]:
            return [hint for hint in hints if hint.document_id == "last"]

        worker = Worker(last)
        loop = sifting(pipe, received, worker, sift)

        await loop.run()

        assert worker.calls == [["last"]]
        assert received.asked[:3] == [4, 8, 8]
        assert received.acked == [4, 8, 8, 1]
        assert loop.progress.done == 21
        assert pipe.change_queue not in await pipe.store.queues.depths()


async def test_what_is_not_old_is_worked_in_batches_however_many_were_received() -> None:
    async with pipelines.opened() as pipe:
        for number in range(4):
            await pipe.put(f"doc-{number}", "one two three")
        received = Receives(pipe.store.queues)

        def enough(hints: Sequence[Hint]) -> list[queues.Trouble]:
            if len(worker.calls) == 2:
                loop.stop()
            return []

        async def sift(hints: Sequence[Hint]) -> Sequence[Hint]:
            return hints

        worker = Worker(enough)
        loop = sifting(pipe, received, worker, sift)

        await loop.run()

        assert worker.calls == [["doc-0", "doc-1"], ["doc-2", "doc-3"]]
        assert received.asked[0] == 4
        assert received.acked == [2, 2]


async def test_where_nobody_can_tell_what_is_old_the_worker_is_given_everything() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")

        def last(hints: Sequence[Hint]) -> list[queues.Trouble]:
            loop.stop()
            return []

        async def away(hints: Sequence[Hint]) -> list[Hint]:
            raise TransientError(Reason.LEDGER_UNAVAILABLE)

        worker = Worker(last)
        loop = sifting(pipe, Receives(pipe.store.queues), worker, away)

        await loop.run()

        assert worker.calls == [["a"]]


async def test_what_is_looked_at_when_the_loop_is_cancelled_is_given_back() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        looking = asyncio.Event()

        async def for_ever(hints: Sequence[Hint]) -> list[Hint]:
            looking.set()
            await asyncio.Event().wait()
            return []

        loop = sifting(pipe, pipe.store.queues, Worker(lambda hints: []), for_ever)
        running = asyncio.create_task(loop.run())
        await looking.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        await loop.give_back()

        assert (await pipe.store.queues.depths())[pipe.change_queue].visible == 1
