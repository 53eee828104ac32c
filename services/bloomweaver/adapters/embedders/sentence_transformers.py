"""`sentence-transformers://`: the reference implementation on torch, for GPUs and for models of any architecture.

Heavy: importing it costs seconds and hundreds of megabytes, so it lives in an extra and in images of its own. On CUDA
it computes in bf16 (fp16 where the GPU has no bf16); pooled vectors are normalised here, in fp32, as in every runtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import numpy as np

from bloomweaver.adapters.embedders import local, model_files, tokenization
from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

try:
    import sentence_transformers
    import torch
except ImportError as error:
    raise ImportError(
        "sentence-transformers:// needs the extra: pip install 'bloomweaver[sentence-transformers]'"
    ) from error

# A bound on the memory of one call, in padded tokens; the batcher's budget decides below it.
_CALL_TOKENS = 65_536


class SentenceTransformersEmbedder:
    """One torch model for both lanes, with a thread each: the device takes their batches in turn."""

    def __init__(
        self,
        spec: models.ModelSpec,
        tokenizer: tokenization.FileTokenizer,
        model: sentence_transformers.SentenceTransformer,
    ) -> None:
        tokenization.fitted(spec, tokenizer)
        self.spec = spec
        self.space = models.space_of(spec)
        self.tokenizer: embedders.Tokenizer = tokenizer
        self._model = model
        self._threads = {kind: futures.ThreadPoolExecutor(1, f"embed-{kind}") for kind in models.Kind}

    async def embed(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> embedders.Vectors:
        local.require_room(self.spec, passages, kind)
        if not passages:
            return np.empty((0, self.spec.dimension), np.float32)
        texts = [self.spec.prefix(kind) + passage.text for passage in passages]
        longest = max(len(passage.ids) for passage in passages) + self.spec.max_tokens - self.spec.room(kind)
        batch = max(1, _CALL_TOKENS // longest)
        return await asyncio.get_running_loop().run_in_executor(self._threads[kind], self._embed, texts, batch)

    async def aclose(self) -> None:
        for thread in self._threads.values():
            await asyncio.to_thread(thread.shutdown, cancel_futures=True)

    def _embed(self, texts: Sequence[str], batch: int) -> embedders.Vectors:
        try:
            pooled = self._model.encode(
                list(texts),
                batch_size=batch,
                convert_to_tensor=True,
                normalize_embeddings=False,
                show_progress_bar=False,
            )
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            raise errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"torch: {error}") from error
        return local.finished(pooled.float().cpu().numpy(), normalize=self.spec.normalize)


def open_directory(spec: models.ModelSpec, directory: Path, *, threads: int) -> SentenceTransformersEmbedder:
    """Loads the model on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        model = sentence_transformers.SentenceTransformer(str(directory), device=device, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise model_files.unusable(directory, str(error), "Fetch the model again") from error
    model.max_seq_length = spec.max_tokens
    if device == "cuda":
        model.to(torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
    tokenizer = tokenization.FileTokenizer(directory / model_files.TOKENIZER)
    return SentenceTransformersEmbedder(spec, tokenizer, model.eval())
