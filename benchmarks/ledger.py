"""The ledger on SQLite: durable accepts per second, their processor time, and the reads that a search waits for."""

import asyncio
import pathlib
import tempfile
import time
from collections.abc import Awaitable, Callable

from benchmarks import report
from bloomweaver.adapters import clock, opening
from bloomweaver.domain import identity
from bloomweaver.domain.documents import Chunking, ChunkRow, Content, Meta, Ordering, Pipeline
from bloomweaver.domain.events import Accepted, Change, EventIdentity
from bloomweaver.domain.identity import BuildId, DocumentId, Pipe, TenantId
from bloomweaver.ports import ledger

TENANT = TenantId("bench")
COLLECTION = "docs"
PIPELINE = Pipeline(Pipe("0123456789abcdef"), "space", "model", Chunking(254), "1")
TEXT = "Twenty-five days of leave a year, taken by March. " * 40
CALLERS = 32
CANDIDATES = 50
HITS = 10


def change(number: int, *, edition: int = 0) -> Change:
    """A text of 2 kB."""
    data = f"{number}.{edition} {TEXT}".encode()
    content = Content("text/plain", identity.content_hash("text/plain", data), len(data), text=data.decode())
    event = EventIdentity("api", f"evt-{number}-{edition}", content.hash)
    return Change(TENANT, COLLECTION, DocumentId(f"doc-{number}"), event, content=content, meta=Meta(title="Leave"))


async def accept_rate(store: ledger.Ledger, changes: list[Change]) -> tuple[float, float]:
    """(accepts per second, microseconds of processor time each), one change per call."""
    source = iter(changes)

    async def caller() -> None:
        for one in source:
            await store.accept([one])

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return len(changes) / (time.perf_counter() - began), (time.process_time() - used) / len(changes) * 1e6


async def index(store: ledger.Ledger, answers: list[Accepted]) -> None:
    """Make documents searchable."""
    chunks = tuple(ChunkRow(i, "text", f"h{i}", TEXT[:800], i * 800, i * 800 + 800) for i in range(3))
    for answer in answers:
        assert answer.row is not None
        key, build = answer.row.key, BuildId(f"build-{answer.seq}")
        content = answer.row.content_hash
        await store.intend([ledger.Intent(key, answer.seq, PIPELINE.pipe, build, content, len(chunks), chunks)])
        await store.settle([ledger.Settlement(key, answer.seq, PIPELINE.pipe, 1, None)])


async def milliseconds(read: Callable[[], Awaitable[object]], *, times: int) -> float:
    """The best of five means: what it costs, not what the machine did beside it."""
    means = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(times):
            await read()
        means.append((time.perf_counter() - began) / times * 1000)
    return min(means)


async def measure(*, quick: bool) -> list[report.Row]:
    """Rows for the report."""
    count = 2_000 if quick else 20_000
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as folder:
        url = f"sqlite:///{folder}/ledger.db"
        async with opening.open_database(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as database:
            collection, _ = await database.registry.create_collection(
                TENANT, COLLECTION, ordering=Ordering.ARRIVAL, description="", pipeline=PIPELINE
            )
            store = database.ledger
            new, new_cpu = await accept_rate(store, [change(n) for n in range(count)])
            updates, updates_cpu = await accept_rate(store, [change(n, edition=1) for n in range(count)])
            answers = await store.accept([change(n, edition=2) for n in range(CANDIDATES)])
            taken = [answer for answer in answers if isinstance(answer, Accepted)]
            await index(store, taken)
            snapshot = await store.snapshot([collection.uid])
            names = [f"doc-{n}" for n in range(CANDIDATES)]
            refs = [
                ledger.ChunkRef(answer.row.key, answer.seq, PIPELINE.pipe, 1) for answer in taken[:HITS] if answer.row
            ]
            times = 50 if quick else 300
            visible = await milliseconds(lambda: store.visible(collection.uid, names, snapshot=snapshot), times=times)
            shown = await milliseconds(lambda: store.shown(refs), times=times)
            idle = await milliseconds(lambda: database.healing.garbage(limit=100), times=times)
    return [
        report.at_least("accepts of new documents", new, 4_000, unit="/s", note=f"{new_cpu:.0f} us of CPU each"),
        report.at_least("accepts of updates", updates, 4_000, unit="/s", note=f"{updates_cpu:.0f} us of CPU each"),
        report.at_most(f"rows of {CANDIDATES} candidates", visible, 0.3, form="{:.2f}", unit=" ms"),
        report.at_most(f"texts of {HITS} hits", shown, 0.5, form="{:.2f}", unit=" ms"),
        report.Row("asking for garbage where there is none", f"{idle:.2f} ms"),
    ]


if __name__ == "__main__":
    print(report.table(asyncio.run(measure(quick=False))))
