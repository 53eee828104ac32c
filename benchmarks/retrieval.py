"""What arithmetic costs in retrieval: nDCG@10 of headings as queries for the chunks below them, against fp32.

`python -m benchmarks.retrieval [--chunks N] [--queries N] [--int8 DIRECTORY]`. The upper bound holds in 95 of 100 draws
of a bootstrap over the queries, paired. Where the processor has no bf16 its rounding is imitated (see `rounding.py`).
"""

import argparse
import asyncio
import collections
import itertools
import pathlib
import random
import tempfile
import time
from collections.abc import AsyncIterator

import numpy as np
import openvino as ov

from benchmarks import corpus, rounding, shapes
from bloomweaver.adapters.embedders import loading, local, openvino, tokenization, weights
from bloomweaver.domain import chunking, models
from bloomweaver.encoding import threads
from bloomweaver.ports import embedders
from bloomweaver.text import parsing
from bloomweaver.workbench import main as workbench
from bloomweaver.workbench import quality, samples

SECTION_CHUNKS = 2


def read(embedder: embedders.Embedder) -> list[samples.Sample]:
    """Chunks of all manuals that are installed, with their headings: the first ones of each section."""
    found: list[samples.Sample] = []
    room = embedder.spec.room(models.Kind.DOCUMENT)
    kept: collections.Counter[tuple[str, ...]] = collections.Counter()
    for path in itertools.chain.from_iterable(map(corpus.files, corpus.MANUALS)):
        extracted = parsing.parse(path.read_text(encoding="utf-8"), "text/html")
        for chunk in chunking.split(extracted, embedder.tokenizer.encode, max_tokens=room):
            kept[chunk.heading] += 1
            if kept[chunk.heading] <= SECTION_CHUNKS:
                found.append(samples.Sample(embedders.Passage(chunk.text, chunk.token_ids), chunk.heading))
    return found


def drawn(found: list[samples.Sample], *, most: int) -> list[samples.Sample]:
    """Whole sections in a random order, the same one every time, until there are so many chunks."""
    sections: dict[tuple[str, ...], list[samples.Sample]] = {}
    for sample in found:
        sections.setdefault(sample.heading, []).append(sample)
    order = list(sections.values())
    random.Random(7).shuffle(order)
    return list(itertools.islice(itertools.chain.from_iterable(order), most))


async def opened(options: argparse.Namespace, model: pathlib.Path, *, arithmetic: str | None) -> embedders.Embedder:
    """A model directory as the product opens it."""
    exact, threads_used = arithmetic == "fp32", options.threads
    wishes = loading.Wishes(
        models_dir=options.place, threads=threads_used, proven=False, exact=exact, arithmetic=arithmetic
    )
    return await loading.open_with(f"openvino://{model}", wishes)


def imitated(options: argparse.Namespace, spec: models.ModelSpec) -> embedders.Embedder:
    """bf16 by rounding, in fp32."""
    shape = spec.architecture
    if shape is None:
        raise RuntimeError(f"{spec.name} is not of the BERT family")
    tensors = weights.Weights(options.model / "model.safetensors")
    runner = rounding.Runner(tensors, shape, threads=options.threads)
    return local.LocalEmbedder(spec, tokenization.FileTokenizer(options.model / "tokenizer.json"), runner)


async def variants(
    options: argparse.Namespace, spec: models.ModelSpec
) -> AsyncIterator[tuple[str, embedders.Embedder, bool]]:
    """(name, embedder, whether queries stay exact)."""
    if openvino.multiplies_bf16(ov.Core()):
        yield "bf16", await opened(options, options.model, arithmetic="bf16"), False
    else:
        yield "bf16, imitated", imitated(options, spec), False
    if options.int8 is not None:
        yield "int8 documents, exact queries", await opened(options, options.int8, arithmetic=None), True


async def measure(options: argparse.Namespace) -> None:
    """A line per variant."""
    exact = await opened(options, options.model, arithmetic="fp32")
    found = drawn(read(exact), most=options.chunks)
    asked = samples.questions(found, most=options.queries)
    manuals = ", ".join(name for name in corpus.MANUALS if corpus.files(name))
    print(f"{len(found):,} chunks of {manuals}; {len(asked):,} headings of their own", flush=True)
    began = time.perf_counter()
    reference = await quality.vectors_of(exact, found, asked)
    await exact.aclose()
    before = quality.ndcg(reference.queries, reference.documents, asked)
    print(f"fp32: nDCG@10 {before.mean():.4f} ({time.perf_counter() - began:.0f} s)", flush=True)
    async for name, embedder, exact_queries in variants(options, exact.spec):
        began = time.perf_counter()
        made = await quality.vectors_of(embedder, found, asked)
        await embedder.aclose()
        queries = reference.queries if exact_queries else made.queries
        after = quality.ndcg(queries, made.documents, asked)
        loss, bound = quality.loss_bound(before, after)
        cosines = (made.documents * reference.documents).sum(axis=1)
        print(
            f"{name}: nDCG@10 {after.mean():.4f}, loss {loss:+.3%}, upper 95 % bound {bound:+.3%}; "
            f"cosine p1 {np.percentile(cosines, 1):.4f}, least {cosines.min():.4f} "
            f"({time.perf_counter() - began:.0f} s)",
            flush=True,
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--chunks", type=int, default=8_900)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=min(threads.available(2), workbench.cores()))
    parser.add_argument("--model", type=pathlib.Path, default=None)
    parser.add_argument("--int8", **shapes.INT8_OPTION)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bloomweaver-") as place:
        options.place = pathlib.Path(place)
        options.model = options.model or shapes.installed()
        asyncio.run(measure(options))


if __name__ == "__main__":
    main()
