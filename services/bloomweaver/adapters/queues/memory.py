"""`mem://`: queues inside one process, for tests and the simulator.

Invariant: the same calls at the same times give the same deliveries in the same order. Times are the injected clock's;
waiting is the event loop's, so that a loop with virtual time waits for nothing.
"""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bloomweaver.domain.events import Hint
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import queues

DEAD_AGAIN_SECONDS = 60.0


@dataclass(slots=True)
class _Message:
    hint: Hint
    number: int
    first_due: float
    due: float
    receives: int = 0
    leased: bool = False
    dead: bool = False

    def deliver(self) -> queues.Delivery:
        return queues.Delivery(self.hint, f"{self.number}.{self.receives}", self.receives)


@dataclass(slots=True)
class _Queue:
    """order: a heap of (due, number); entries of messages that moved or went since are skipped when they come up."""

    messages: dict[int, _Message] = field(default_factory=dict)
    order: list[tuple[float, int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, message: _Message, *, at: float, leased: bool = False) -> None:
        message.due, message.leased = at, leased
        if not message.dead:
            heapq.heappush(self.order, (at, message.number))
            self.changed.set()
            self.changed = asyncio.Event()

    def first(self) -> _Message | None:
        """The message that is due next."""
        while self.order:
            due, number = self.order[0]
            message = self.messages.get(number)
            if message is not None and message.due == due and not message.dead:
                return message
            heapq.heappop(self.order)
        return None

    def take(self, *, limit: int, now: float, until: float) -> list[queues.Delivery]:
        taken: list[queues.Delivery] = []
        while len(taken) < limit and (message := self.first()) is not None and message.due <= now:
            heapq.heappop(self.order)
            message.receives += 1
            message.dead = message.receives > queues.MAX_RECEIVES
            if not message.dead:
                self.show(message, at=until, leased=True)
                taken.append(message.deliver())
        return taken

    def named(self, deliveries: Sequence[queues.Delivery]) -> Iterator[_Message]:
        """The messages whose newest receipts these are."""
        for delivery in deliveries:
            number, _, receives = delivery.receipt.partition(".")
            message = self.messages.get(int(number))
            if message is not None and message.receives == int(receives):
                yield message

    def depth(self, now: float) -> queues.Depth:
        alive = [m for m in self.messages.values() if not m.dead]
        ages = [now - m.first_due for m in alive if m.due <= now]
        leased = sum(m.leased for m in alive if m.due > now)
        delayed = len(alive) - len(ages) - leased
        return queues.Depth(len(ages), leased, delayed, len(self.messages) - len(alive), max(ages, default=0.0))


class MemoryQueues:
    """Every method but a waiting `receive` is atomic: it never gives up the loop."""

    def __init__(self, *, clock: clocks.Clock) -> None:
        self._clock = clock
        self._queues: defaultdict[str, _Queue] = defaultdict(_Queue)
        self._sent = 0

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        held, due = self._queues[queue], self._clock.monotonic() + delay_seconds
        for hint in hints:
            self._sent += 1
            held.messages[self._sent] = message = _Message(hint, self._sent, first_due=due, due=due)
            held.show(message, at=due)

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        loop, held = asyncio.get_running_loop(), self._queues[queue]
        give_up = loop.time() + wait_seconds
        while True:
            now = self._clock.monotonic()
            taken = held.take(limit=limit, now=now, until=now + visibility_seconds)
            left = give_up - loop.time()
            if taken or left <= 0:
                return taken
            first = held.first()
            try:
                async with asyncio.timeout(left if first is None else min(left, first.due - now)):
                    await held.changed.wait()
            except TimeoutError:
                continue

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        held = self._queues[queue]
        for message in held.named(deliveries):
            del held.messages[message.number]

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        held, due = self._queues[queue], self._clock.monotonic() + delay_seconds
        for message in held.named(deliveries):
            held.show(message, at=due)

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        held, due = self._queues[queue], self._clock.monotonic() + visibility_seconds
        for message in held.named(deliveries):
            held.show(message, at=due, leased=True)

    async def depths(self) -> dict[str, queues.Depth]:
        now = self._clock.monotonic()
        return {name: held.depth(now) for name, held in self._queues.items() if held.messages}

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        held, now = self._queues[queue], self._clock.monotonic()
        given = [m for m in held.messages.values() if m.dead and m.due <= now][:limit]
        for message in given:
            message.due = now + DEAD_AGAIN_SECONDS
        return [message.deliver() for message in given]
