"""Embedding on this machine: cold start, tokens per second through the batcher and bare, latency of a query, memory.

Texts are the project's own documentation in pieces of about 120 tokens. Every figure is of the runtime named in its
row; runtimes that are not installed are left out.
"""

import asyncio
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from array import array

from bloomweaver.adapters.embedders import loading
from bloomweaver.domain import models
from bloomweaver.encoding import batcher, batches, threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import logs

ROOT = pathlib.Path(__file__).parents[1]
PIECES = 192
QUERIES = 40
QUERY = "how does a deleted document leave the index"

COLD = """
import asyncio, pathlib, sys
from bloomweaver.adapters.embedders import loading
from bloomweaver.domain import models
from bloomweaver.ports import embedders
async def main():
    embedder = await loading.open_embedder(sys.argv[1], models_dir=pathlib.Path(sys.argv[2]), threads=int(sys.argv[3]))
    ids = embedder.tokenizer.encode(["hello"])[0].ids
    await embedder.embed([embedders.Passage("hello", ids)], models.Kind.QUERY)
asyncio.run(main())
"""


def pieces(tokenizer: embedders.Tokenizer) -> list[embedders.Passage]:
    """Passages of 20 to 250 tokens, about 120 on average, in a fixed order."""
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))
    ids = tokenizer.encode([text])[0].ids
    lengths = [20 + (index * 37) % 201 for index in range(PIECES)]
    found, at = [], 0
    for length in lengths:
        found.append(embedders.Passage("", array("I", (ids[at : at + length] + ids[:length])[:length])))
        at = (at + length) % max(1, len(ids) - 256)
    return found


def cold_start_seconds(url: str, models_dir: pathlib.Path, cores: int) -> float:
    """From the start of a process to its first vector and its end; the median of three."""
    command = [sys.executable, "-c", COLD, url, str(models_dir), str(cores)]
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


async def bare_tokens_per_second(embedder: embedders.Embedder, passages: list[embedders.Passage], budget: int) -> float:
    """The runtime alone: sorted, in batches of the budget, one after the other."""
    overhead = embedder.spec.special_tokens
    plan = batches.plan([len(passage.ids) + overhead for passage in passages], budget_tokens=budget)
    began = time.perf_counter()
    for batch in plan:
        await embedder.embed([passages[index] for index in batch], models.Kind.DOCUMENT)
    return sum(len(passage.ids) for passage in passages) / (time.perf_counter() - began)


async def batched_tokens_per_second(encoder: batcher.Batcher, passages: list[embedders.Passage]) -> float:
    """Through the batcher, as documents of four passages from concurrent callers."""
    began = time.perf_counter()
    documents = [passages[at : at + 4] for at in range(0, len(passages), 4)]
    await asyncio.gather(*(encoder.encode(document, kind=models.Kind.DOCUMENT) for document in documents))
    return sum(len(passage.ids) for passage in passages) / (time.perf_counter() - began)


async def query_milliseconds(encoder: batcher.Batcher) -> list[float]:
    """Latencies of single queries, sorted."""
    found = []
    for _ in range(QUERIES):
        began = time.perf_counter()
        await encoder.encode_texts([QUERY], kind=models.Kind.QUERY)
        found.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.02)
    return sorted(found)


def proportional_set_megabytes() -> int:
    """This process's memory, shared pages counted by share."""
    lines = pathlib.Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024


async def measure(url: str, models_dir: pathlib.Path, cores: int) -> None:
    print(f"{url}: cold start {cold_start_seconds(url, models_dir, cores):.2f} s")
    before = proportional_set_megabytes()
    embedder = await loading.open_embedder(url, models_dir=models_dir, threads=cores)
    passages = pieces(embedder.tokenizer)
    for budget in (256, 512, 1024, 2048):
        await bare_tokens_per_second(embedder, passages[:32], budget)
        rate = await bare_tokens_per_second(embedder, passages, budget)
        print(f"{url}: bare, budget {budget}: {rate:,.0f} tokens/s")
    async with batcher.Batcher(embedder) as encoder:
        rate = await batched_tokens_per_second(encoder, passages)
        figures = encoder.figures()[models.Kind.DOCUMENT]
        fill = f"fill {figures.fill:.0%}, budget {figures.budget_tokens}"
        print(f"{url}: through the batcher: {rate:,.0f} tokens/s, {fill}")
        idle = await query_milliseconds(encoder)
        bulk = asyncio.create_task(encoder.encode(passages * 4, kind=models.Kind.DOCUMENT))
        await asyncio.sleep(0.5)
        busy = await query_milliseconds(encoder)
        bulk.cancel()
        for name, found in (("idle", idle), ("while embedding in bulk", busy)):
            print(
                f"{url}: query {name}: p50 {found[len(found) // 2]:.1f} ms, p95 {found[int(len(found) * 0.95)]:.1f} ms"
            )
    print(f"{url}: {proportional_set_megabytes() - before} MB added to this process")
    await embedder.aclose()


async def overhead() -> None:
    """What the batcher itself costs, over the in-memory embedder."""
    embedder = await loading.open_embedder("mem://?dimension=8", models_dir=ROOT, threads=1)
    texts = [f"text number {number} of the batcher's overhead" for number in range(5000)]
    async with batcher.Batcher(embedder) as encoder:
        began = time.perf_counter()
        await encoder.encode_texts(texts, kind=models.Kind.DOCUMENT)
        print(f"mem://: through the batcher: {len(texts) / (time.perf_counter() - began):,.0f} texts/s")


async def main() -> None:
    logs.configure(form="console", level="warning", stream=sys.stderr)
    cores = threads.available(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        for runtime, module in (("openvino", "openvino"), ("onnx", "onnxruntime")):
            if importlib.util.find_spec(module) is not None:
                await measure(f"{runtime}://{models.DEFAULT}", pathlib.Path(folder), cores)
    await overhead()


if __name__ == "__main__":
    asyncio.run(main())
