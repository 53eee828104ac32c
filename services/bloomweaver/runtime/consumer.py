"""The consumer loop: the only place where hints are acked, released or given up, and where a failure becomes a state.

Invariant: a hint is acked only after what it asked for is durable: in the store, as a state of its row, or as a later
hint. A worker that crashes, is killed or is paused leaves its hints to the visibility time-out; a hint received more
than twice is processed alone, so that a text that crashes a worker takes nobody along.

Most hints of a crowded queue may be old: their rows need nothing any more. Where the worker can tell them by one look
at all rows of a receive (`Sift`), they are acked together, and the next receive asks for more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from collections.abc import Collection as Some
from dataclasses import dataclass, replace
from typing import TypeAlias

from bloomweaver import logger
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.domain.errors import ConfigurationError, PermanentError, RetryableError, TransientError, WorkError
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger, queues
from bloomweaver.runtime import lifecycle, tracing

SUSPICIOUS_RECEIVES = 2

Delivery = queues.Delivery
Sift: TypeAlias = Callable[[Sequence[Hint]], Awaitable[Some[Hint]]]
"""Gives those of the hints that there is something to do for, by one read of all their rows; the others are done."""


@dataclass(frozen=True, slots=True)
class Pace:
    """limit: hints per batch. handlers: batches worked at once. pause: after a dependency failed.

    sifted: the most hints that a receive asks for where the worker sifts them first.
    """

    limit: int = 10
    handlers: int = 4
    sifted: int = 64
    wait_seconds: float = 1.0
    visibility_seconds: float = 60.0
    pause_seconds: float = 1.0


@dataclass(slots=True)
class Progress:
    """What the loop did and is doing, for metrics, readiness and drain."""

    in_flight: int = 0
    done: int = 0
    troubled: int = 0
    released: int = 0
    refused: ConfigurationError | None = None


class Consumer:
    """Receives hints of one queue and gives them to a worker until stopped."""

    def __init__(
        self,
        *,
        queue: str,
        queues: queues.Queues,
        ledger: ledger.Ledger,
        worker: queues.Worker,
        pace: Pace,
        on_trouble: Callable[[Reason], None],
        sift: Sift | None = None,
        tracer: tracing.Tracer | None = None,
    ) -> None:
        self._queue = queue
        self._queues = queues
        self._ledger = ledger
        self._worker = worker
        self._pace = pace
        self._on_trouble = on_trouble
        self._sift = sift
        self._old = 0
        self._begun = 0
        self._ended = asyncio.Event()
        self._tracer = tracer or tracing.Silent()
        self._stopping = asyncio.Event()
        self._held: list[Sequence[Delivery]] = []
        self._log = logger.get("consumer").bind(queue=queue)
        self.progress = Progress()

    def stop(self) -> None:
        """Stop receiving; `run` returns when what was received is finished or released."""
        self._stopping.set()

    async def give_back(self) -> None:
        """After `run` was cancelled: release what it still held, so that nobody waits for a visibility time-out."""
        held, self._held = self._held, []
        for batch in held:
            await self._release(batch, delay_seconds=0.0)

    async def run(self) -> None:
        """Until stopped, or until the worker says that it is set up wrongly."""
        turns = asyncio.Semaphore(self._pace.handlers)
        async with asyncio.TaskGroup() as handlers:
            while not self._stopping.is_set():
                while self._begun >= self._pace.handlers:
                    self._ended.clear()
                    await self._ended.wait()
                wanted = await self._sifted(await self._receive())
                for start in range(0, len(wanted), self._pace.limit):
                    batch = wanted[start : start + self._pace.limit]
                    self._begin(batch)
                    handlers.create_task(self._handle_in_turn(batch, turns))

    def _room(self) -> int:
        """Hints to ask for: as many as can be begun at once, or twice as many as were old in the last receive."""
        if self._sift is None:
            return self._pace.limit
        free = self._pace.limit * (self._pace.handlers - self._begun)
        return min(max(free, 2 * self._old), max(self._pace.sifted, self._pace.limit))

    async def _receive(self) -> list[queues.Delivery]:
        if self._stopping.is_set():
            return []
        try:
            return await self._queues.receive(
                self._queue,
                limit=self._room(),
                visibility_seconds=self._pace.visibility_seconds,
                wait_seconds=self._pace.wait_seconds,
            )
        except TransientError as error:
            self._log.warning("receive_failed", reason=str(error.reason))
            await self._rest()
            return []
        except ConfigurationError as error:
            self._refuse(error)
            return []

    async def _sifted(self, received: Sequence[Delivery]) -> Sequence[Delivery]:
        """What there is something to do for; the rest is acked here. Who cannot tell now gives all to the worker."""
        if self._sift is None or not received or self._stopping.is_set():
            return received
        self._held.append(received)
        wanted, self._old = received, 0
        try:
            async with self._heartbeat(received):
                asked = await self._sift([told(delivery) for delivery in received])
                old = [delivery for delivery in received if told(delivery) not in asked]
                if old:
                    await self._queues.ack(self._queue, old)
            self.progress.done += len(old)
            wanted, self._old = [delivery for delivery in received if told(delivery) in asked], len(old)
        except Exception as error:  # noqa: BLE001 the worker meets it too, and there every hint comes to its end
            self._log.warning("sift_failed", error=type(error).__name__)
        self._held.remove(received)
        return wanted

    def _begin(self, batch: Sequence[Delivery]) -> None:
        self._begun += 1
        self.progress.in_flight += len(batch)
        self._held.append(batch)

    async def _handle_in_turn(self, batch: Sequence[Delivery], turns: asyncio.Semaphore) -> None:
        try:
            async with self._heartbeat(batch), turns:
                for group in groups(batch):
                    await self.handle(group)
            self._held.remove(batch)
        finally:
            self._begun -= 1
            self.progress.in_flight -= len(batch)
            self._ended.set()

    async def handle(self, batch: Sequence[queues.Delivery]) -> None:
        """Work a batch and bring every hint in it to an end: acked, put off, or released."""
        if self._stopping.is_set():
            await self._release(batch, delay_seconds=0.0)
            return
        try:
            hints = [told(delivery) for delivery in batch]
            with self._tracer.working(self._queue, hints):
                troubles = await self._worker.work(hints)
                await self._record(troubles)
            await self._queues.ack(self._queue, batch)
            self.progress.done += len(batch)
        except ConfigurationError as error:
            self._refuse(error)
            await self._release(batch, delay_seconds=0.0)
        except TransientError as error:
            self._log.warning("dependency_failed", reason=str(error.reason))
            await self._put_off(batch, error)
            await self._rest()
        except Exception as error:  # noqa: BLE001 whatever a text does to a worker, the other documents go on
            await self._isolate(batch, error)

    def _refuse(self, error: ConfigurationError) -> None:
        self._log.error("configuration", reason=str(error.reason), detail=error.detail)
        self.progress.refused = error
        self.stop()

    async def _isolate(self, batch: Sequence[queues.Delivery], error: Exception) -> None:
        """Nobody foresaw it: halve until the hint that does it stands alone, then count it against its document."""
        self._log.exception("worker_failed", hints=len(batch))
        if len(batch) > 1:
            middle = len(batch) // 2
            await self.handle(batch[:middle])
            await self.handle(batch[middle:])
            return
        detail = f"Working on it raised {type(error).__name__}."
        failed = error if isinstance(error, WorkError) else RetryableError(Reason.READER_CRASHED, detail)
        hint = told(batch[0])
        try:
            (look,) = await self._ledger.look([hint.key])
            if look is not None:
                pipe = hint.pipe or look.generation.active.pipe
                await self._record([queues.Trouble(hint, hint.seq, pipe, failed)])
            await self._queues.ack(self._queue, batch)
        except TransientError as away:
            await self._put_off(batch, away)

    async def _put_off(self, batch: Sequence[queues.Delivery], error: TransientError) -> None:
        """An outage is never counted: fresh, delayed hints take the place of these, whose receives would add up.

        What was received before without an answer goes with them: a text that kills its readers stays suspicious.
        """
        for delivery in batch:
            with contextlib.suppress(TransientError):
                await self._ledger.postpone(
                    [delivery.hint.key],
                    seq=delivery.hint.seq,
                    reason=error.reason,
                    delay_seconds=error.retry_after_seconds,
                )
        try:
            hints = distinct(told(delivery) for delivery in batch)
            await self._queues.send(self._queue, hints, delay_seconds=error.retry_after_seconds)
            await self._queues.ack(self._queue, batch)
        except TransientError:
            await self._release(batch, delay_seconds=error.retry_after_seconds)

    async def _record(self, troubles: Sequence[queues.Trouble]) -> None:
        """A failure becomes a state of the row; what is to be tried again gets a delayed hint.

        One hint for each that there was: one with two troubles would become two, then four, until nothing else moved.
        """
        again: list[tuple[float, Hint]] = []
        for trouble in troubles:
            self.progress.troubled += 1
            self._on_trouble(trouble.error.reason)
            self._log_trouble(trouble)
            delay = await self._told(trouble)
            if delay is not None:
                again.append((delay, trouble.hint))
        again.sort(key=lambda item: item[0], reverse=True)
        soonest = {_asks(hint): delay for delay, hint in again}
        for hint in distinct(hint for _, hint in again):
            await self._queues.send(self._queue, [hint], delay_seconds=soonest[_asks(hint)])

    async def _told(self, trouble: queues.Trouble) -> float | None:
        """The row knows of the trouble now; the seconds until the next try, None where there is none."""
        key, error = trouble.hint.key, trouble.error
        if isinstance(error, TransientError):
            delay = error.retry_after_seconds
            await self._ledger.postpone([key], seq=trouble.seq, reason=error.reason, delay_seconds=delay)
            return delay
        permanent = isinstance(error, PermanentError)
        return await self._ledger.fail(
            ledger.Failure(key, trouble.seq, trouble.pipe, error.reason, error.detail, permanent=permanent)
        )

    def _log_trouble(self, trouble: queues.Trouble) -> None:
        self._log.info(
            "trouble",
            reason=str(trouble.error.reason),
            collection_uid=trouble.hint.collection_uid,
            document_id=trouble.hint.document_id,
            seq=trouble.seq,
        )

    async def _release(self, batch: Sequence[queues.Delivery], *, delay_seconds: float) -> None:
        self.progress.released += len(batch)
        try:
            await self._queues.release(self._queue, batch, delay_seconds=delay_seconds)
        except (TransientError, ConfigurationError) as error:
            # The visibility time-out gives them back.
            self._log.warning("release_failed", reason=str(error.reason))

    @contextlib.asynccontextmanager
    async def _heartbeat(self, batch: Sequence[queues.Delivery]) -> AsyncIterator[None]:
        over = asyncio.Event()
        beat = asyncio.create_task(self._beat(batch, over))
        try:
            yield
        finally:
            over.set()  # also for a library that loses the cancellation: nobody would wait for the end of a loop then
            beat.cancel()
            await asyncio.wait([beat])
            if not beat.cancelled():
                beat.result()

    async def _beat(self, batch: Sequence[queues.Delivery], over: asyncio.Event) -> None:
        """Extends visibility every third of it, as long as the work goes on."""
        while not over.is_set():
            await asyncio.sleep(self._pace.visibility_seconds / 3)
            try:
                await self._queues.extend(self._queue, batch, visibility_seconds=self._pace.visibility_seconds)
            except TransientError as error:
                self._log.warning("heartbeat_failed", reason=str(error.reason))

    async def _rest(self) -> None:
        """A pause that a stop ends."""
        await lifecycle.pause(self._pace.pause_seconds, unless=self._stopping)


def groups(batch: Sequence[queues.Delivery]) -> list[list[queues.Delivery]]:
    """Hints to work together: all that were received once or twice, and each other one alone."""
    together = [delivery for delivery in batch if told(delivery).unanswered < SUSPICIOUS_RECEIVES]
    alone = [[delivery] for delivery in batch if told(delivery).unanswered >= SUSPICIOUS_RECEIVES]
    return [group for group in [together, *alone] if group]


def told(delivery: queues.Delivery) -> Hint:
    """The hint as a worker is told of it: with the receipts before this one, which ended without an answer."""
    hint = delivery.hint
    return hint if delivery.receives == 1 else replace(hint, unanswered=hint.unanswered + delivery.receives - 1)


def distinct(hints: Iterable[Hint]) -> list[Hint]:
    """One hint for each thing that is asked for, the one that lived through most."""
    found: dict[tuple[DocumentKey, int, str | None], Hint] = {}
    for hint in hints:
        known = found.get(_asks(hint))
        if known is None or known.unanswered < hint.unanswered:
            found[_asks(hint)] = hint
    return list(found.values())


def _asks(hint: Hint) -> tuple[DocumentKey, int, str | None]:
    return hint.key, hint.seq, hint.pipe
