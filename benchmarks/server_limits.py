"""No adapter is the limit of the pipeline: what each carries beside what one embedder makes, in one run.

The embedder has the whole machine: the runtime alone, over chunks as the splitter cuts them. The others are asked in
the batches of the processes that use them: vector stores write, ledgers record intents and settle them, queues hand out
and ack (a hint is a document, of 3 chunks).
"""

import asyncio
import os
import pathlib
import tempfile
import time
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks import backends, ledger, pipeline, report, server_queues, server_vectors
from bloomweaver.adapters import opening
from bloomweaver.domain import models
from bloomweaver.domain.documents import ChunkRow, Ordering
from bloomweaver.domain.errors import TransientError
from bloomweaver.domain.events import Accepted
from bloomweaver.domain.identity import BuildId
from bloomweaver.encoding import threads
from bloomweaver.ports import ledger as ledgers
from tests.support.servers import processes

CHUNKS = 3
DOCUMENTS = 1_280
TOGETHER = 64
WORKERS = 2
EMBEDDED = 100
RECORDS = 2_880
HINTS = 2_880
LEDGERS = (
    backends.Backend("SQLite", backends.sqlite_file),
    backends.Backend("PostgreSQL", backends.postgresql_server),
)


async def embedder_rate() -> float:
    """Chunks a second of the default model."""
    cores = threads.available(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        embedder = await opening.open_embedder(models.DEFAULT, models_dir=pathlib.Path(folder), threads=cores)
        _, passages = pipeline.cut(embedder, least=EMBEDDED)
        await pipeline.bare_seconds(embedder, passages[:32])
        seconds = await pipeline.bare_seconds(embedder, passages)
        await embedder.aclose()
    return len(passages) / seconds


async def ledger_rate(backend: backends.Backend, *, documents: int) -> float:
    """Chunks a second that are recorded with their intents, settled and shown."""
    async with backends.opened(backend, opening.open_database) as database:
        await database.registry.create_collection(
            ledger.TENANT, ledger.COLLECTION, ordering=Ordering.ARRIVAL, description="", pipeline=ledger.PIPELINE
        )
        answers = await database.ledger.accept([ledger.change(number) for number in range(documents)])
        taken = [answer for answer in answers if isinstance(answer, Accepted)]
        left = iter([taken[at : at + TOGETHER] for at in range(0, len(taken), TOGETHER)])

        async def worker() -> None:
            for batch in left:
                await shown(database.ledger, batch)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(WORKERS)))
        return len(taken) * CHUNKS / (time.perf_counter() - began)


async def shown(store: ledgers.Ledger, batch: list[Accepted]) -> None:
    """Intents of some documents, and their settlements; RuntimeError where one of them did not flip."""
    pipe = ledger.PIPELINE.pipe
    texts = tuple(ChunkRow(i, "text", f"h{i}", ledger.TEXT[:800], i * 800, i * 800 + 800) for i in range(CHUNKS))
    rows = [(answer.row, answer.seq) for answer in batch if answer.row is not None]
    await store.intend(
        [
            ledgers.Intent(row.key, seq, pipe, BuildId(f"build-{seq}"), row.content_hash, CHUNKS, texts)
            for row, seq in rows
        ]
    )
    done = await store.settle([ledgers.Settlement(row.key, seq, pipe, 1) for row, seq in rows])
    if not all(each.flipped for each in done):
        raise RuntimeError("a document was not shown")


async def measure(*, quick: bool) -> list[report.Row]:
    """The embedder, then everybody else."""
    share = 10 if quick else 1
    bare = await embedder_rate()

    async def vectors_of(backend: backends.Backend) -> float:
        return (await server_vectors.rates(backend, count=RECORDS // share)).written

    async def queues_of(backend: backends.Backend) -> float:
        return (await server_queues.rates(backend, count=HINTS // share)).worked * CHUNKS

    async def ledger_of(backend: backends.Backend) -> float:
        return await ledger_rate(backend, documents=DOCUMENTS // share)

    rows = [report.Row("one embedder", f"{bare:,.0f} chunks/s", note="all-MiniLM-L6-v2, the whole machine")]
    for what, known, rate_of in (
        ("ledger", LEDGERS, ledger_of),
        ("queues", backends.QUEUES, queues_of),
        ("vectors", backends.VECTORS, vectors_of),
    ):
        for backend in known:
            rows.append(await beside(f"{what}: {backend.name}", backend, rate_of, bare=bare))
            print(f"  {rows[-1].measure}: {rows[-1].value} {rows[-1].note}", flush=True)
    return rows


async def beside(
    what: str, backend: backends.Backend, rate_of: Callable[[backends.Backend], Awaitable[float]], *, bare: float
) -> report.Row:
    """How many embedders it could take from."""
    try:
        rate = await rate_of(backend)
    except (processes.Absent, TransientError) as error:
        return report.Row(what, "not run", note=str(error))
    note = f"{rate:,.0f} chunks/s"
    return report.at_least(what, rate / bare, 1, form="{:,.1f}", unit=" embedders", note=note)


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
