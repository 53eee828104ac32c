"""The messages of one queue: who is visible, who is leased, who is delayed.

Invariants: a message is in exactly one state, and `ready` holds each visible one once, so that counts are exact and
every operation costs the same at any depth: a deque of what is visible and a heap of what will be, both with entries
that are skipped when they come up and no longer hold.
"""

import enum
import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bloomweaver.testing.sqs_wire import faults

REORDERED = 64
"""How far a message may jump: all of a small queue, and a bounded price in a large one."""


class State(enum.IntEnum):
    """Where a message is; the first three index the counts."""

    VISIBLE = 0
    LEASED = 1
    DELAYED = 2
    GONE = 3


@dataclass(slots=True, eq=False)
class Message:
    """number: our own, unique in the account. receives: also what makes a receipt unlike the one before."""

    number: int
    body: str
    attributes: Any
    sent_at: float
    group: str | None = None
    state: State = State.GONE
    due: float = 0.0
    receives: int = 0

    @property
    def receipt(self) -> str:
        """Of its newest delivery."""
        return f"{self.number}.{self.receives}"


@dataclass(slots=True, eq=False)
class Messages:
    """numbers: of the account. worn: received too often, for whoever knows where they go."""

    numbers: Iterator[int]
    dice: faults.Dice
    held: dict[int, Message] = field(default_factory=dict)
    ready: deque[Message] = field(default_factory=deque)
    timers: list[tuple[float, int, Message]] = field(default_factory=list)
    worn: list[Message] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    _ties: Iterator[int] = field(default_factory=itertools.count)

    def add(self, body: str, attributes: Any, *, now: float, delay_seconds: float, group: str | None = None) -> Message:
        """A new message."""
        message = Message(next(self.numbers), body, attributes, now, group)
        if self.dice.falls("late"):
            delay_seconds += self.dice.up_to(self.dice.misbehaviour.late_seconds)
        self.adopt(message, now=now, delay_seconds=delay_seconds)
        return message

    def adopt(self, message: Message, *, now: float, delay_seconds: float = 0.0) -> None:
        """A message that came from outside, or from another queue."""
        self.held[message.number] = message
        self._show(message, State.DELAYED, now=now, after_seconds=delay_seconds)

    def take(self, count: int, *, now: float, visibility_seconds: float, most_receives: int | None) -> list[Message]:
        """Up to `count` visible ones, leased; those that were received too often are given to nobody, and let go."""
        self.mature(now)
        if self.dice.falls("empty"):
            return []
        if self.dice.falls("reorder") and len(self.ready) > 1:
            self.ready.rotate(-1 - int(self.dice.up_to(min(len(self.ready), REORDERED) - 1)))
        taken: list[Message] = []
        while self.ready and len(taken) < count:
            message = self.ready.popleft()
            if message.state is not State.VISIBLE:
                continue
            message.receives += 1
            if most_receives is not None and message.receives > most_receives:
                self.let_go(message)
                self.worn.append(message)
                continue
            self._lease(message, now=now, visibility_seconds=visibility_seconds)
            taken.append(message)
        return taken

    def named(self, receipt: str) -> Message | None:
        """The message whose newest delivery has this receipt. ValueError where it never was a receipt."""
        number, dot, receives = receipt.partition(".")
        if not dot or not number.isdigit() or not receives.isdigit():
            raise ValueError(receipt)
        message = self.held.get(int(number))
        return message if message is not None and message.receives == int(receives) else None

    def let_go(self, message: Message) -> None:
        """It is nowhere any more."""
        self._enter(message, State.GONE)
        self.held.pop(message.number, None)

    def show_after(self, message: Message, seconds: float, *, now: float) -> None:
        """A new visibility time-out."""
        self._show(message, State.LEASED, now=now, after_seconds=seconds)

    def mature(self, now: float) -> None:
        """Whatever is due becomes visible."""
        while self.timers and self.timers[0][0] <= now:
            due, _, message = heapq.heappop(self.timers)
            if message.due == due and message.state in (State.LEASED, State.DELAYED):
                self._enter(message, State.VISIBLE)

    def next_due(self) -> float | None:
        """When it is worth looking again; None where nothing waits."""
        return self.timers[0][0] if self.timers else None

    def clear(self) -> None:
        """All gone."""
        for message in list(self.held.values()):
            self.let_go(message)
        self.ready.clear()
        self.timers.clear()

    def _lease(self, message: Message, *, now: float, visibility_seconds: float) -> None:
        if self.dice.falls("expire"):
            visibility_seconds = 0.0
        self._show(message, State.LEASED, now=now, after_seconds=visibility_seconds)
        if self.dice.falls("duplicate"):
            twin = Message(next(self.numbers), message.body, message.attributes, message.sent_at, message.group)
            twin.receives = message.receives
            self.adopt(twin, now=now)

    def _show(self, message: Message, waiting: State, *, now: float, after_seconds: float) -> None:
        self._enter(message, waiting)
        if after_seconds <= 0:
            self._enter(message, State.VISIBLE)
            return
        message.due = now + after_seconds
        heapq.heappush(self.timers, (message.due, next(self._ties), message))

    def _enter(self, message: Message, state: State) -> None:
        if message.state is not state and state is State.VISIBLE:
            self.ready.append(message)
        self.counts[message.state] -= 1
        self.counts[state] += 1
        message.state = state
