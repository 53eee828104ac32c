"""The pipeline beside bare embedding of the same chunks: what accepting, splitting, storing and flipping cost.

Bare: the chunks are made beforehand, sorted by length, and given to the runtime in batches of its budget,
with nothing beside it. Pipeline: from the first request to the last document that can be searched, in another process.
The two take turns, because a shared machine is not equally quick at all times: each round of the pipeline is compared
with the bare rounds before and after it, and the median of those ratios is the figure, never the best.
"""

import os
import pathlib
import statistics
import tempfile
import time

import uvloop

from benchmarks import corpus, loading, report, serving, wire
from bloomweaver.adapters import opening
from bloomweaver.domain import chunking, models
from bloomweaver.encoding import batches, threads
from bloomweaver.ports import embedders
from bloomweaver.text import parsing

CHUNKS = 400
ROUNDS = 5
BUDGET_TOKENS = 1024
BUSY = "bloomweaver_embed_inference_seconds_sum"


def cut(embedder: embedders.Embedder, *, least: int) -> tuple[list[loading.Document], list[embedders.Passage]]:
    """Documents that have at least so many chunks between them, and all the chunks."""
    documents, passages = [], []
    for name, media_type, text in corpus.pages()[1]:
        extracted = parsing.parse(text, media_type)
        room = embedder.spec.room(models.Kind.DOCUMENT)
        chunks = chunking.split(extracted, embedder.tokenizer.encode, max_tokens=room)
        documents.append((f"manual/{name}", media_type, text))
        passages += [embedders.Passage(chunk.text, chunk.token_ids) for chunk in chunks]
        if len(passages) >= least:
            break
    return documents, passages


async def bare_seconds(embedder: embedders.Embedder, passages: list[embedders.Passage]) -> float:
    """The runtime alone."""
    overhead = embedder.spec.special_tokens
    plan = batches.plan([len(passage.ids) + overhead for passage in passages], budget_tokens=BUDGET_TOKENS)
    began = time.perf_counter()
    for batch in plan:
        await embedder.embed([passages[index] for index in batch], models.Kind.DOCUMENT)
    return time.perf_counter() - began


async def pipeline_seconds(documents: list[loading.Document], *, chunks: int) -> tuple[float, float]:
    """A fresh, warm server takes all documents: the seconds, and those of them in which the runtime computed."""
    async with serving.running() as server:
        await loading.send(server, [("warm", "text/plain", "A first text, so that nothing is loaded later.")])
        await loading.until_searchable(server)
        before, began = await busy_seconds(server), time.perf_counter()
        await loading.send(server, documents)
        await loading.until_searchable(server)
        seconds = time.perf_counter() - began
        busy = await busy_seconds(server) - before
        stored = server.count("SELECT count(*) FROM chunk") - 1
    if stored != chunks:
        raise RuntimeError(f"the server made {stored} chunks of these documents, the splitter {chunks}")
    return seconds, busy


async def busy_seconds(server: serving.Server) -> float:
    """How long the server's runtime has computed so far."""
    async with wire.connected(serving.HOST, server.port) as connection:
        answer = await connection.ask(wire.request("GET", "/metrics"))
    lines = (line for line in answer.body.decode().splitlines() if line.startswith(BUSY))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def measure(*, quick: bool) -> list[report.Row]:
    """The median ratio, and both median rates."""
    cores = threads.available(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        embedder = await opening.open_embedder(models.DEFAULT, models_dir=pathlib.Path(folder), threads=cores)
        documents, passages = cut(embedder, least=CHUNKS // 8 if quick else CHUNKS)
        await bare_seconds(embedder, passages[:32])
        bares = [await bare_seconds(embedder, passages)]
        wholes: list[tuple[float, float]] = []
        for _ in range(1 if quick else ROUNDS):
            wholes.append(await pipeline_seconds(documents, chunks=len(passages)))
            bares.append(await bare_seconds(embedder, passages))
            print(f"  bare {bares[-2]:.1f} and {bares[-1]:.1f} s, pipeline {wholes[-1][0]:.1f} s", flush=True)
        await embedder.aclose()
    ratios = [(bares[at] + bares[at + 1]) / 2 / whole for at, (whole, _) in enumerate(wholes)]
    tokens = sum(len(passage.ids) for passage in passages)
    bare, whole = statistics.median(bares), statistics.median(seconds for seconds, _ in wholes)
    busy = min(busy / seconds for seconds, busy in wholes)
    shares = ", ".join(f"{ratio:.0%}" for ratio in ratios)
    what = f"{len(documents)} pages of {corpus.pages()[0]}, {len(passages)} chunks, {tokens:,} tokens"
    return [
        report.at_least(
            "pipeline beside bare embedding",
            100 * statistics.median(ratios),
            90,
            unit=" %",
            note=f"median of {len(ratios)} rounds: {shares}; runtime busy for {busy:.0%} of the time or more",
        ),
        report.Row("bare embedding", f"{tokens / bare:,.0f} tokens/s", note=what),
        report.Row("pipeline", f"{tokens / whole:,.0f} tokens/s, {len(passages) / whole:.1f} chunks/s"),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
