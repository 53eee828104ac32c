"""One variant of `benchmarks.embedders` as a process: reads texts, then commands, and answers each in a line of JSON.

It imports what its engine needs and nothing else, because its memory is measured too.
"""

import asyncio
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

QUERY = "how does a deleted document leave the index"
QUERIES = 200
PAUSE_SECONDS = 0.02


def peer(engine: str, directory: str, threads: int) -> Callable[[list[str]], object]:
    """Another library in the way that its documentation shows."""
    if engine == "fastembed":
        import fastembed

        exported(pathlib.Path(directory))
        rapid: Any = fastembed.TextEmbedding(
            "sentence-transformers/all-MiniLM-L6-v2", specific_model_path=directory, threads=threads
        )
        return lambda texts: list(rapid.embed(texts))
    import sentence_transformers
    import torch

    torch.set_num_threads(threads)
    slow: Any = sentence_transformers.SentenceTransformer(directory, device="cpu")
    slow.max_seq_length = 512
    return lambda texts: slow.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)


def exported(directory: pathlib.Path) -> None:
    """model.onnx beside the weights: fastembed reads nothing else."""
    if (directory / "model.onnx").exists():
        return
    import torch
    import transformers

    class Named(torch.nn.Module):  # type: ignore[misc]  # the exporter passes by place what the model takes by name
        def __init__(self) -> None:
            super().__init__()
            self.model = transformers.AutoModel.from_pretrained(str(directory), attn_implementation="eager")

        def forward(self, ids: Any, mask: Any, kinds: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=kinds).last_hidden_state

    model = Named().eval()
    ids = torch.ones((2, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "length"} for name in (*names, "last_hidden_state")}
    torch.onnx.export(
        model, (ids, ids, ids * 0), str(directory / "model.onnx"), input_names=names,
        output_names=["last_hidden_state"], dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip


def megabytes() -> int:
    """This process's memory, shared pages counted by share."""
    lines = pathlib.Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024


def tell(**figures: object) -> None:
    """One answer."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def serve_peer(embed: Callable[[list[str]], object], texts: list[str]) -> None:
    """Until stdin ends."""
    for line in sys.stdin:
        if line.strip() == "pass":
            began = time.perf_counter()
            embed(texts)
            tell(seconds=time.perf_counter() - began)
            continue
        took = []
        for _ in range(QUERIES):
            began = time.perf_counter()
            embed([QUERY])
            took.append(1000 * (time.perf_counter() - began))
        tell(alone_ms=sorted(took), megabytes=megabytes())


async def serve_ours(url: str, models_dir: pathlib.Path, threads: int, texts: list[str]) -> None:
    """Our own, behind its batcher."""
    from bloomweaver.adapters.embedders import loading
    from bloomweaver.domain import models
    from bloomweaver.encoding import batcher

    wishes = loading.Wishes(models_dir=models_dir, threads=threads, proven=False)
    embedder = await loading.open_with(url, wishes)
    loop = asyncio.get_running_loop()
    async with batcher.Batcher(embedder) as encoder:
        tell(ready=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line.strip() == "pass":
                began = time.perf_counter()
                await encoder.encode_texts(texts, kind=models.Kind.DOCUMENT)
                tell(seconds=time.perf_counter() - began)
                continue
            figures = encoder.figures()[models.Kind.DOCUMENT]
            reached = figures.operations_total / figures.busy_seconds_total
            peak = await embedder.peak_operations_per_second() if hasattr(embedder, "peak_operations_per_second") else 0
            held, alone = megabytes(), await queries(encoder, pause_seconds=0.0)
            bulk = asyncio.create_task(encoder.encode_texts(texts * 4, kind=models.Kind.DOCUMENT))
            beside = await queries(encoder, pause_seconds=PAUSE_SECONDS)
            bulk.cancel()
            tell(alone_ms=alone, beside_ms=beside, megabytes=held, of_peak=reached / peak if peak else None)


async def queries(encoder: Any, *, pause_seconds: float) -> list[float]:
    """What single queries take, sorted; one after the other as those of the peers, or with a pause between them."""
    from bloomweaver.domain import models

    took = []
    for _ in range(QUERIES):
        began = time.perf_counter()
        await encoder.encode_texts([QUERY], kind=models.Kind.QUERY)
        took.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(pause_seconds)
    return sorted(took)


def main() -> None:
    """ENGINE DIRECTORY THREADS."""
    engine, directory, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    texts = json.loads(sys.stdin.readline())
    if "://" in engine:
        asyncio.run(serve_ours(engine.format(directory), pathlib.Path(directory).parent, threads, texts))
        return
    try:
        embed = peer(engine, directory, threads)
    except ImportError as error:
        tell(why=str(error))
        return
    tell(ready=True)
    serve_peer(embed, texts)


if __name__ == "__main__":
    main()
