"""What arithmetic costs in retrieval: nDCG@10 of headings as queries for the chunks below them, against fp32.

`python -m benchmarks.retrieval [--chunks N] [--queries N] [--int8 DIRECTORY]`. The upper bound holds in 95 of 100 draws
of a bootstrap over the queries, paired. Without bf16 in the processor that variant is fp32 as well.
"""

import argparse
import asyncio
import pathlib
import tempfile
import time

import numpy as np

from benchmarks import corpus, report, shapes
from bloomweaver.adapters.embedders import loading
from bloomweaver.domain import chunking, models
from bloomweaver.encoding import threads
from bloomweaver.ports import embedders
from bloomweaver.text import parsing
from bloomweaver.workbench import main as workbench
from bloomweaver.workbench import quality, samples


def read(embedder: embedders.Embedder, *, most: int) -> list[samples.Sample]:
    """Chunks of the manuals with their headings."""
    found: list[samples.Sample] = []
    room = embedder.spec.room(models.Kind.DOCUMENT)
    for _, media_type, text in corpus.pages()[1]:
        for chunk in chunking.split(parsing.parse(text, media_type), embedder.tokenizer.encode, max_tokens=room):
            found.append(samples.Sample(embedders.Passage(chunk.text, chunk.token_ids), chunk.heading))
            if len(found) == most:
                return found
    return found


async def measure(options: argparse.Namespace) -> None:
    """A line per variant."""
    threads_used = min(options.threads, workbench.cores())
    exact_wishes = loading.Wishes(models_dir=options.place, threads=threads_used, exact=True, arithmetic="fp32")
    exact = await loading.open_with(str(options.model), exact_wishes)
    found = read(exact, most=options.chunks)
    asked = samples.questions(found, most=options.queries)
    print(f"{len(found):,} chunks of {corpus.pages()[0]}, {len(asked):,} headings of their own", flush=True)
    began = time.perf_counter()
    reference = await quality.vectors_of(exact, found, asked)
    await exact.aclose()
    before = quality.ndcg(reference.queries, reference.documents, asked)
    print(f"fp32: nDCG@10 {before.mean():.4f} ({time.perf_counter() - began:.0f} s)", flush=True)
    variants = {"the model's own arithmetic": (str(options.model), False)}
    if options.int8 is not None:
        variants["int8 documents, exact queries"] = (str(options.int8), True)
    for name, (model, integers) in variants.items():
        wishes = loading.Wishes(models_dir=options.place, threads=threads_used, proven=False)
        embedder = await loading.open_with(f"openvino://{model}", wishes)
        made = await quality.vectors_of(embedder, found, asked)
        await embedder.aclose()
        queries = reference.queries if integers else made.queries
        after = quality.ndcg(queries, made.documents, asked)
        loss, bound = quality.loss_bound(before, after)
        cosines = (made.documents * reference.documents).sum(axis=1)
        print(
            f"{name}: nDCG@10 {after.mean():.4f}, loss {loss:+.3%}, upper 95 % bound {bound:+.3%}; "
            f"cosine p1 {np.percentile(cosines, 1):.4f}",
            flush=True,
        )
    print(report.circumstances())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--chunks", type=int, default=30_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=threads.available(2))
    parser.add_argument("--model", type=pathlib.Path, default=None)
    parser.add_argument("--int8", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bloomweaver-") as place:
        options.place = pathlib.Path(place)
        options.model = options.model or shapes.installed()
        asyncio.run(measure(options))


if __name__ == "__main__":
    main()
