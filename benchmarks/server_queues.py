"""Queue throughput of every queue: a deployment sends and works at once, in the batches of its processes.

Sent: in calls of what 32 connections of webhook bring together. Received and acked: by two receivers, 64 hints a call,
as a writer does it. First only sends, then only receives, over the same hints.
"""

import asyncio
import dataclasses
import time

import uvloop

from benchmarks import backends, report
from bloomweaver.adapters import opening
from bloomweaver.ports import queues
from bloomweaver.testing.contracts import queues as contract

HINTS = 6_400
SENT_TOGETHER = 32
SENDERS = 2
RECEIVED_TOGETHER = 64
RECEIVERS = 2
QUEUE = "create"
VISIBILITY_SECONDS = 600.0
PATIENCE_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Rates:
    """Hints a second."""

    sent: float
    worked: float


async def sent_per_second(store: queues.Queues, *, count: int) -> float:
    """In batches, from a few senders at once."""
    hints = contract.hints(count)
    left = iter([hints[start : start + SENT_TOGETHER] for start in range(0, count, SENT_TOGETHER)])

    async def sender() -> None:
        for batch in left:
            await store.send(QUEUE, batch)

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return count / (time.perf_counter() - began)


async def worked_per_second(store: queues.Queues, *, count: int) -> float:
    """Received and acked until all are; a double that delivers twice is no reason to stop early."""
    done: set[str] = set()
    began = last = time.perf_counter()

    async def receiver() -> None:
        nonlocal last
        while len(done) < count and time.perf_counter() - last < PATIENCE_SECONDS:
            taken = await store.receive(
                QUEUE, limit=RECEIVED_TOGETHER, visibility_seconds=VISIBILITY_SECONDS, wait_seconds=1.0
            )
            if taken:
                await store.ack(QUEUE, taken)
                done.update(delivery.hint.document_id for delivery in taken)
                last = time.perf_counter()

    await asyncio.gather(*(receiver() for _ in range(RECEIVERS)))
    if len(done) < count:
        raise RuntimeError(f"{count - len(done)} hints never came")
    return count / (last - began)


async def rates(backend: backends.Backend, *, count: int) -> Rates:
    """Of queues that are empty at first; `processes.Absent` where they cannot be had."""
    async with backends.opened(backend, opening.open_queues) as store:
        await sent_per_second(store, count=SENT_TOGETHER)  # the queue is made, connections are open
        await worked_per_second(store, count=SENT_TOGETHER)
        return Rates(await sent_per_second(store, count=count), await worked_per_second(store, count=count))


async def measure(*, quick: bool) -> list[report.Row]:
    """A row for each."""

    async def of(backend: backends.Backend) -> str:
        found = await rates(backend, count=HINTS // 20 if quick else HINTS)
        return f"{found.sent:,.0f} hints/s sent, {found.worked:,.0f}/s received and acked"

    return await backends.rows(backends.QUEUES, of)


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
