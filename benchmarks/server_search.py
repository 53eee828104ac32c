"""Vector search on pgvector at 100,000 chunks: how long a query takes and what it finds, with and without a filter.

The vectors: the default model's embeddings of real sentences, and around each of them twenty of its neighbourhood
(normalised noise; their cosine to it is about 0.85, as of chunks of one subject), because embedding so many takes an
hour. Asked are sentences that are not among them. What should have been found an exact scan by numpy says. Filled by
the adapter in a writer's batches, indexed by it on its own when that is through, measured one query at a time.
"""

import asyncio
import dataclasses
import os
import pathlib
import re
import statistics
import tempfile
import time

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks import backends, corpus, one_server, report, server_vectors
from bloomweaver.adapters import opening
from bloomweaver.domain import filters, models
from bloomweaver.encoding import batches, threads
from bloomweaver.ports import embedders, vectors

CHUNKS = 100_000
SENTENCES = 5_000
QUERIES = 200
MOST_TOKENS = 24
NOISE = 0.62
BUDGET_TOKENS = 1024
FOUND = 10
NAMESPACE = server_vectors.NAMESPACE
INDEX_SECONDS = 900.0
AFTER_INDEX = 1_920
FILTERS = {
    "no filter": None,
    "a filter that 10 % pass": filters.parse({"team": "team-3"}),
    "a filter that 1 % pass": filters.parse({"shelf": 42}),
}
_INDEX = "SELECT indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname LIKE 'vectors\\_%\\_hnsw'"
_INDEX_BYTES = "SELECT sum(pg_relation_size(oid))::bigint FROM pg_class WHERE relname LIKE 'vectors\\_%\\_hnsw'"

Matrix = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Milliseconds of a query, and the share of the true ten best that it gave."""

    p50: float
    p95: float
    recall: float


def metadata_of(number: int) -> dict[str, str | int]:
    """What the filters ask for; spread evenly over sentences and neighbourhoods."""
    mixed = number * 2654435761 % 2**32
    return {"team": f"team-{mixed % 10}", "shelf": mixed // 10 % 100}


async def embedded(sentences: list[str]) -> Matrix:
    """By the default model, each cut to a few tokens."""
    cores = threads.available(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        embedder = await opening.open_embedder(models.DEFAULT, models_dir=pathlib.Path(folder), threads=cores)
        passages = [embedders.Passage("", each.ids[:MOST_TOKENS]) for each in embedder.tokenizer.encode(sentences)]
        overhead = embedder.spec.special_tokens
        found = np.zeros((len(passages), backends.DIMENSION), np.float32)
        for batch in batches.plan([len(each.ids) + overhead for each in passages], budget_tokens=BUDGET_TOKENS):
            found[batch] = await embedder.embed([passages[index] for index in batch], models.Kind.DOCUMENT)
        await embedder.aclose()
    return found


def sentences(count: int) -> list[str]:
    """Each once, in the order of the manual."""
    split = (part for paragraph in corpus.prose() for part in re.split(r"(?<=[.;:])\s+", paragraph))
    found = list(dict.fromkeys(part for part in split if len(part) >= 40))
    if len(found) < count:
        raise RuntimeError(f"{corpus.pages()[0]}: {len(found)} sentences, {count} are needed")
    return found[:: len(found) // count][:count]


def neighbourhoods(centres: Matrix, *, count: int) -> Matrix:
    """So many unit vectors, spread around the centres; the first ones are the centres themselves."""
    dice = np.random.default_rng(1)
    rows = centres[np.arange(count) % len(centres)]
    noise = dice.standard_normal(rows.shape, dtype=np.float32)
    noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    noise[: len(centres)] = 0
    noise += rows
    unit: Matrix = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return unit


def records(rows: Matrix, *, first: int) -> list[vectors.Record]:
    """Three to a document."""
    return [
        vectors.Record(server_vectors.vector_id(n), f"doc-{n // 3}", 1, n % 3, row, metadata_of(n))
        for n, row in enumerate(rows, first)
    ]


async def fill(store: vectors.Vectors, rows: Matrix, *, first: int = 0) -> float:
    """Chunks a second."""
    size = server_vectors.BATCH
    parts = [records(rows[at : at + size], first=first + at) for at in range(0, len(rows), size)]
    return await server_vectors.written_per_second(store, parts)


async def indexed_seconds(place: one_server.Place) -> float:
    """How long the making of the index takes, from when it has begun."""
    began: float | None = None
    async with asyncio.timeout(INDEX_SECONDS):
        while (state := await asyncio.to_thread(place.ask, _INDEX)) != [(True,)]:
            if state and began is None:
                began = time.perf_counter()
            await asyncio.sleep(0.1)
    return 0.0 if began is None else time.perf_counter() - began


async def found_of(
    store: vectors.Vectors, rows: Matrix, asked: Matrix, *, where: filters.Filter | None, passing: NDArray[np.bool_]
) -> Found:
    """One query after the other."""
    took, share = [], []
    numbers = np.flatnonzero(passing)
    true_scores = asked @ rows[numbers].T
    for number, query in enumerate(asked):
        began = time.perf_counter()
        answer = await store.query(NAMESPACE, query, k=FOUND, where=where)
        took.append((time.perf_counter() - began) * 1000)
        best = set(numbers[np.argsort(-true_scores[number])[:FOUND]].tolist())
        given = {int(match.document_id.removeprefix("doc-")) * 3 + match.index for match in answer.matches}
        share.append(len(best & given) / len(best))
    took.sort()
    return Found(statistics.median(took), took[int(len(took) * 0.95)], statistics.mean(share))


def passing_of(where: filters.Filter | None, *, count: int) -> NDArray[np.bool_]:
    """Which of the chunks pass a filter."""
    if where is None:
        return np.ones(count, bool)
    return np.array([filters.matches(where, metadata_of(number)) for number in range(count)])


async def measure(*, quick: bool) -> list[report.Row]:
    """Rows of each filter, and of what writing and indexing cost. Quick: 20,000 chunks around 100 sentences."""
    count, centres, queries = (20_000, 100, 20) if quick else (CHUNKS, SENTENCES, QUERIES)
    known = await embedded(sentences(centres + queries))
    asked, rows = known[centres:], neighbourhoods(known[:centres], count=count)
    table = []
    async with one_server.placed() as place, place.opened() as opened:
        store = opened.vectors
        written = await fill(store, rows)
        making = await indexed_seconds(place)
        for name, where in FILTERS.items():
            found = await found_of(store, rows, asked, where=where, passing=passing_of(where, count=count))
            what = f"search of {count:,} chunks, {name}"
            table.append(report.Row(what, f"p50 {found.p50:.1f} ms, p95 {found.p95:.1f} ms"))
            table.append(report.at_least("its recall@10", found.recall, 0.98, form="{:.3f}"))
            print(f"  {what}: {found}", flush=True)
        size = place.count(
            "SELECT sum(pg_relation_size(oid))::bigint FROM pg_class WHERE relname LIKE 'vectors\\_%hnsw'"
        )
        versions = place.versions()
        later = await fill(store, neighbourhoods(rows[:AFTER_INDEX], count=AFTER_INDEX), first=count)
    note = f"{versions}; {size / 1024**2:,.0f} MB; begun by itself when the table had been calm for 10 s"
    return [
        *table,
        report.Row("making the index", f"{making:.0f} s", note=note),
        report.Row("writing before there is an index", f"{written:,.0f} chunks/s"),
        report.Row("writing into the index", f"{later:,.0f} chunks/s"),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
