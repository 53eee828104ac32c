"""After DELETE's 2xx no search shows the document, and the answer is quick while the server has much to do.

Walkers beside each other put a document, wait until a search shows it, delete it, and search for it by its own words as
soon as the 2xx is there. So the server embeds documents, embeds queries, writes and removes all the while.
"""

import asyncio
import dataclasses
import itertools
import time

import uvloop

from benchmarks import corpus, loading, report, serving, wire

SEARCHES = 100_000
SECONDS = 340.0
WALKERS = 8
SEARCHES_PER_DELETE = 40


@dataclasses.dataclass(slots=True)
class Tally:
    """What the walkers saw."""

    searches: int = 0
    shown: int = 0
    controls: int = 0
    told_to_repeat: int = 0
    deletes_milliseconds: list[float] = dataclasses.field(default_factory=list)


async def walk(server: serving.Server, tally: Tally, names: "itertools.count[int]", *, end: float, most: int) -> None:
    """One walker: the same steps until time or searches run out."""
    sentences = corpus.prose()
    async with wire.connected(serving.HOST, server.port) as connection:
        while time.monotonic() < end and tally.searches < most:
            number = next(names)
            name = f"walk-{number}"
            text = f"Number {number}. {sentences[number % len(sentences)]}"
            ask = {"query": " ".join(text.split()[:8]), "limit": 20}
            search = wire.request("POST", "/v1/search", key=server.key, body=ask)
            await loading.put(server, connection, name, text)
            if not await shows(connection, search, name, tally=tally):
                raise RuntimeError(f"{name} is searchable, and a search for its own words does not show it")
            tally.controls += 1
            began = time.perf_counter()
            path = f"/v1/collections/default/documents/{name}"
            answer = await connection.ask(wire.request("DELETE", path, key=server.key))
            tally.deletes_milliseconds.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"DELETE {name}: {answer.status}: {answer.body[:300]!r}")
            for _ in range(SEARCHES_PER_DELETE):
                tally.shown += await shows(connection, search, name, tally=tally)
                tally.searches += 1


async def shows(connection: wire.Connection, search: bytes, name: str, *, tally: Tally) -> bool:
    """Whether the document is among the hits. A search that documents changed under is sent again, as its 503 says."""
    while (answer := await connection.ask(search)).status == 503 and answer.json()["reason"] == "search_conflict":
        tally.told_to_repeat += 1
    if answer.status != 200:
        raise RuntimeError(f"search: {answer.status}: {answer.body[:300]!r}")
    return any(hit["document_id"] == name for hit in answer.json()["hits"])


async def measure(*, quick: bool, seconds: float = SECONDS) -> list[report.Row]:
    """As many searches as fit into a while; `python -m benchmarks.deletes` does all 100,000."""
    tally = Tally()
    async with serving.running() as server:
        names = itertools.count()
        end = time.monotonic() + (seconds / 20 if quick else seconds)
        walkers = (walk(server, tally, names, end=end, most=SEARCHES) for _ in range(WALKERS))
        await asyncio.gather(*walkers)
    took = sorted(tally.deletes_milliseconds)
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    note = f"{len(took):,} deletes, each document seen by a search before; {tally.told_to_repeat} searches sent again"
    return [
        report.at_most(
            f"{tally.searches:,} searches after DELETE's 2xx that show the document", tally.shown, 0, note=note
        ),
        report.at_most(
            "DELETE p99 under load", p99, 100, unit=" ms", note=f"p50 {p50:.1f} ms, worst {took[-1]:.0f} ms"
        ),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False, seconds=7200.0))))
