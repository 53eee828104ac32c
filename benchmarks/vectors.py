"""The exact scan: milliseconds per query by size of namespace, with and without a filter, and what writing costs."""

import asyncio
import pathlib
import statistics
import tempfile
import time

import numpy as np

from bloomweaver.adapters import clock, opening
from bloomweaver.domain import filters
from bloomweaver.ports import vectors

DIMENSION = 384
SIZES = (1_000, 10_000, 100_000)
BATCH = 1_000
NAMESPACE = "dep.uid.pipe"


def records(first: int, count: int) -> list[vectors.Record]:
    rows = np.random.default_rng(first).standard_normal((count, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [
        vectors.Record(f"{n // 10:016x}/1/pipe/{n}", f"doc-{n // 10}", 1, n % 10, row, {"n": n // 10, "team": "a"})
        for n, row in enumerate(rows, first)
    ]


async def query_milliseconds(store: vectors.Vectors, *, where: filters.Filter | None = None) -> tuple[float, float]:
    """Median and slowest of 50 queries."""
    took = []
    for number in range(50):
        asked = records(10_000_000 + number, 1)[0].vector
        began = time.perf_counter()
        await store.query(NAMESPACE, asked, k=50, where=where)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), max(took)


async def measure(store: vectors.Vectors) -> None:
    size = 0
    for target in SIZES:
        spent = 0.0
        for first in range(size, target, BATCH):
            batch = records(first, BATCH)
            began = time.perf_counter()
            await store.upsert(NAMESPACE, batch)
            spent += time.perf_counter() - began
        rate, size = (target - size) / spent, target
        began = time.perf_counter()
        await store.query(NAMESPACE, records(0, 1)[0].vector, k=10)
        loading = (time.perf_counter() - began) * 1000
        print(f"{size:7,} x {DIMENSION}: {rate:8,.0f} vectors/s written, first query {loading:.0f} ms")
        for name, where in {
            "all": None,
            "half pass": filters.parse({"n": {"$lt": size // 20}}),
            "1 % pass": filters.parse({"n": {"$lt": size // 1000}}),
            "none pass": filters.parse({"team": "b"}),
        }.items():
            median, worst = await query_milliseconds(store, where=where)
            print(f"          {name:10} {median:6.2f} ms median, {worst:6.2f} ms slowest of 50")
    began = time.perf_counter()
    await asyncio.gather(*(store.query(NAMESPACE, record.vector, k=50) for record in records(0, 200)))
    print(f"          200 at once: {200 / (time.perf_counter() - began):.0f} queries/s")
    await store.upsert(NAMESPACE, records(20_000_000, 10))
    began = time.perf_counter()
    await store.query(NAMESPACE, records(0, 1)[0].vector, k=10)
    print(f"          the query after an upsert of 10: {(time.perf_counter() - began) * 1000:.2f} ms")


async def main() -> None:
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as folder:
        url = f"sqlite:///{folder}/vectors.db"
        async with opening.open_vectors(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as store:
            await measure(store)


if __name__ == "__main__":
    asyncio.run(main())
