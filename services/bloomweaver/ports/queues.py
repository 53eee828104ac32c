"""Queues carry hints, never truth. At least once, in no order, possibly late: a worker always reads the row.

Guarantees: a hint that `send` returned for is delivered again and again until acked or dead; a delivery is invisible to
others for its visibility time-out; after more than MAX_RECEIVES receives it goes to the queue's dead letters.
Unreachable: TransientError(QUEUE_UNAVAILABLE).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bloomweaver.domain.errors import WorkError
from bloomweaver.domain.events import Hint, Lane, Step
from bloomweaver.domain.identity import Pipe

MAX_RECEIVES = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """One receipt of a hint. receives counts from 1, this one included."""

    hint: Hint
    receipt: str
    receives: int


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds. oldest_age_seconds: of the oldest visible hint, 0 for none; None where the
    store does not tell."""

    visible: int = 0
    in_flight: int = 0
    delayed: int = 0
    dead: int = 0
    oldest_age_seconds: float | None = 0.0

    @property
    def total(self) -> int:
        """Everything that still waits or is being worked on."""
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a worker could not do for a hint; the consumer loop decides what that means for row and message."""

    hint: Hint
    seq: int
    pipe: Pipe
    error: WorkError


class Worker(Protocol):
    """Does what the rows behind some hints need. Safe to call twice with the same hints."""

    async def work(self, hints: Sequence[Hint]) -> list[Trouble]:
        """Gives what did not succeed; a hint without trouble is done. Raises where a dependency failed all of them."""
        ...


def queue_name(lane: Lane, space: str = "") -> str:
    """`create`, `update`, `delete`, and one `change:{space}` per space."""
    return f"{lane}:{space}" if space else str(lane)


def queue_of(step: Step) -> str:
    """The queue that a step's hint goes to."""
    return queue_name(step.lane, step.space)


def hints_of(look: Hint, steps: Iterable[Step]) -> list[tuple[str, Hint]]:
    """(queue, hint) for each step of the document that `look` points at."""
    place = (look.tenant, look.collection_uid, look.document_id)
    return [(queue_of(step), Hint(*place, step.seq, step.pipe, look.traceparent)) for step in steps]


async def tell(queues: "Queues", hints: Iterable[tuple[str, Hint]]) -> None:
    """Send hints, one call per queue."""
    by_queue: dict[str, list[Hint]] = {}
    for queue, hint in hints:
        by_queue.setdefault(queue, []).append(hint)
    for queue, batch in by_queue.items():
        await queues.send(queue, batch)


class Queues(Protocol):
    """All queues of a deployment, by name; a queue comes into being with its first hint."""

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        """Durable when it returns."""
        ...

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[Delivery]:
        """Up to `limit` visible hints; waits up to `wait_seconds` for the first."""
        ...

    async def ack(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Done. A receipt that is no longer valid is ignored."""
        ...

    async def release(self, queue: str, deliveries: Sequence[Delivery], *, delay_seconds: float = 0.0) -> None:
        """Give back, visible after the delay."""
        ...

    async def extend(self, queue: str, deliveries: Sequence[Delivery], *, visibility_seconds: float) -> None:
        """Heartbeat."""
        ...

    async def depths(self) -> dict[str, Depth]:
        """By queue name."""
        ...

    async def dead(self, queue: str, *, limit: int) -> list[Delivery]:
        """Take hints off the dead letters; each is given once a minute until acked."""
        ...
