"""Memory of each service as a process over PostgreSQL: when it is ready, and after it has taken in and searched.

The work: documents of the manual until there are 500 chunks, then a hundred searches. By share of pages (PSS), which
processes of one machine divide between them; PostgreSQL's own row is of all its processes together.
"""

import asyncio
import contextlib

import uvloop

from benchmarks import corpus, measuring, one_server, report, serving, wire

CHUNKS = 500
SEARCHES = 100
SERVICES = (
    ("webhook",), ("embedder",), ("writer", "--operation=create"), ("writer", "--operation=update"),
    ("writer", "--operation=delete"), ("search",), ("reconciler",),
)  # fmt: skip
LIMIT_SECONDS = 600.0
STORED = "SELECT count(*) FROM bloomweaver.chunk"
WAITING = "SELECT count(*) FROM bloomweaver.document WHERE state IN ('pending', 'indexing', 'updating')"


async def ingest(place: one_server.Place, port: int, *, chunks: int) -> None:
    """Pages of the manual, ten at a time, until there are so many chunks."""
    pages = iter(corpus.pages()[1])
    async with asyncio.timeout(LIMIT_SECONDS):
        while await asyncio.to_thread(place.count, STORED) < chunks:
            async with wire.connected(serving.HOST, port) as connection:  # an idle one would be closed
                for _, (name, media_type, text) in zip(range(10), pages, strict=False):
                    event = {"change_type": "upsert", "document_id": name, "media_type": media_type, "text": text}
                    answer = await connection.ask(wire.request("POST", "/v1/events", key=place.key, body=event))
                    if answer.status != 202:
                        raise RuntimeError(f"{name}: {answer.status}: {answer.body[:300]!r}")
            while await asyncio.to_thread(place.count, WAITING):  # noqa: ASYNC110  # the database tells nobody
                await asyncio.sleep(0.2)


async def search(place: one_server.Place, port: int, *, times: int) -> None:
    """One after the other, each for something else."""
    queries = [paragraph[:200] for paragraph in corpus.prose()[:times]]
    async with wire.connected(serving.HOST, port) as connection:
        for query in queries:
            answer = await connection.ask(wire.request("POST", "/v1/search", key=place.key, body={"query": query}))
            if answer.status != 200:
                raise RuntimeError(f"search: {answer.status}: {answer.body[:300]!r}")


async def measure(*, quick: bool) -> list[report.Row]:
    """A row for each process."""
    async with one_server.placed() as place, contextlib.AsyncExitStack() as stack:
        running = [await stack.enter_async_context(place.service(*one)) for one in SERVICES]
        idle = [measuring.proportional_megabytes(service.pid) for service in running]
        port = {service.name: service.port for service in running}
        await ingest(place, port["webhook"], chunks=CHUNKS // 20 if quick else CHUNKS)
        await search(place, port["search"], times=SEARCHES // 20 if quick else SEARCHES)
        worked = [measuring.proportional_megabytes(service.pid) for service in running]
        database = 0.0 if place.pid is None else sum(map(measuring.proportional_megabytes, measuring.family(place.pid)))
        chunks, versions = place.count(STORED), place.versions()
    rows = [
        report.Row(f"`bloomweaver-{' '.join(one)}`", f"{before:.0f} MB idle, {after:.0f} MB after")
        for one, before, after in zip(SERVICES, idle, worked, strict=True)
    ]
    note = f"after {chunks:,} chunks"
    return [
        *rows,
        report.Row("all of them", f"{sum(idle):.0f} MB idle, {sum(worked):.0f} MB after", note=note),
        report.Row("PostgreSQL", f"{database:.0f} MB after", note=f"{versions}, with 128 MB of shared buffers"),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
