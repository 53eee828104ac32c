"""Write and delete throughput of every vector store: records of 384 dimensions, in the batches of a writer.

A writer works two batches of up to 64 documents at once; documents of 2 kB have 3 chunks, so a batch is 192 records. It
deletes in the store's largest batch.
"""

import asyncio
import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import uvloop

from benchmarks import backends, report
from bloomweaver.adapters import opening
from bloomweaver.domain import identity
from bloomweaver.ports import vectors

BATCH = 192
HANDLERS = 2
LAG_SECONDS = 30.0
RECORDS = 5_760
NAMESPACE = "bench.c0ffee.pipe"


@dataclasses.dataclass(frozen=True, slots=True)
class Rates:
    """Records a second."""

    written: float
    deleted: float


def records(first: int, count: int) -> list[vectors.Record]:
    """Of random directions, three to a document."""
    rows = np.random.default_rng(first).standard_normal((count, backends.DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [
        vectors.Record(vector_id(n), f"doc-{n // 3}", 1, n % 3, row, {"team": f"team-{n % 7}", "number": n // 3})
        for n, row in enumerate(rows, first)
    ]


def vector_id(number: int) -> str:
    """As a writer names it."""
    pipe = identity.Pipe("0123456789abcdef")
    return identity.vector_ids(identity.DocumentId(f"doc-{number // 3}"), 1, pipe, 3)[number % 3]


async def written_per_second(store: vectors.Vectors, batches: Sequence[Sequence[vectors.Record]]) -> float:
    """From the first batch to the last one's answer."""
    left = iter(batches)

    async def handler() -> None:
        for batch in left:
            await store.upsert(NAMESPACE, batch)

    began = time.perf_counter()
    await asyncio.gather(*(handler() for _ in range(HANDLERS)))
    return sum(map(len, batches)) / (time.perf_counter() - began)


async def deleted_per_second(store: vectors.Vectors, ids: Sequence[str]) -> float:
    """In batches of what one call takes."""
    size = store.capabilities.max_batch
    left = iter([ids[start : start + size] for start in range(0, len(ids), size)])

    async def handler() -> None:
        for batch in left:
            await store.delete(NAMESPACE, batch)

    began = time.perf_counter()
    await asyncio.gather(*(handler() for _ in range(HANDLERS)))
    return len(ids) / (time.perf_counter() - began)


async def gone(store: vectors.Vectors, ids: Sequence[str], *, what: str) -> None:
    """That a delete is seen at last: a store may show for a while what the ledger has ended already."""
    end = time.perf_counter() + LAG_SECONDS
    while found := await store.present(NAMESPACE, ids):
        if time.perf_counter() > end:
            raise RuntimeError(f"{what}: {len(found)} records are there {LAG_SECONDS:.0f} s after their delete")
        await asyncio.sleep(0.1)


async def rates(backend: backends.Backend, *, count: int) -> Rates:
    """Of a store that is empty at first; `processes.Absent` where it cannot be had."""
    batches = [records(first, BATCH) for first in range(BATCH, BATCH + count, BATCH)]
    async with backends.opened(backend, opening.open_vectors) as store:
        await store.upsert(NAMESPACE, records(0, BATCH))  # the namespace is made, connections are open
        written = await written_per_second(store, batches)
        deleted = await deleted_per_second(store, [record.id for batch in batches for record in batch])
        await gone(store, [record.id for record in batches[0]], what=backend.name)
    return Rates(written, deleted)


async def measure(*, quick: bool) -> list[report.Row]:
    """A row for each store."""

    async def of(backend: backends.Backend) -> str:
        found = await rates(backend, count=BATCH * 2 if quick else RECORDS)
        return f"{found.written:,.0f} chunks/s written, {found.deleted:,.0f}/s deleted"

    return await backends.rows(backends.VECTORS, of)


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
