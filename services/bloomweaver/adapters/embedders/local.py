"""What every runtime on this machine shares: framing, padding, pooling, normalising, and a thread per lane.

A runtime is a `Runner`: padded ids in, the last hidden state out, or the pooled vectors of a device. Normalising
happens here, and pooling on a CPU, in fp32 whatever the runtime computes in: vectors are of unit norm on every machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bloomweaver.adapters.embedders import rows, tokenization
from bloomweaver.domain import models
from bloomweaver.ports import embedders

_CALL_TOKENS = 16_384
"""One call into the runtime never holds more padded tokens: a bound on its memory, not a tuning knob."""
_PEAK_ROUNDS = 5
_PEAK_SECONDS = 0.05
PEAK_ROWS = 1024
"""Tokens of the matrix that the peak is measured with: a good batch."""
_POOLED = 2  # dimensions of an output that the runtime pooled on its device

Output = NDArray[np.float32]


class Runner(Protocol):
    """The model in one runtime. Each kind is called from a thread of its own, never from two at once."""

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> Output:
        """(batch, length) to the last hidden state (batch, length, dimension), or pooled already (batch, dimension).

        Valid until this kind's next call.
        MemoryError when memory ran out, RetryableError when the runtime failed.
        """
        ...

    def peak(self) -> float | None:
        """Multiplications and additions a second of a bare matrix multiplication; called like `run` for documents."""
        ...

    def close(self) -> None: ...


class LocalEmbedder:
    """An `embedders.Embedder` over a `Runner`."""

    def __init__(self, spec: models.ModelSpec, tokenizer: tokenization.FileTokenizer, runner: Runner) -> None:
        self.spec = spec
        self.space = models.space_of(spec)
        self.tokenizer: embedders.Tokenizer = tokenizer
        before, after = tokenization.fitted(spec, tokenizer)
        self._before = {kind: before + tokenizer.ids(spec.prefix(kind)) for kind in models.Kind}
        self._after = after
        self._runner = runner
        self._threads = {kind: futures.ThreadPoolExecutor(1, f"embed-{kind}") for kind in models.Kind}

    async def embed(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> embedders.Vectors:
        rows.require_room(self.spec, passages, kind)
        if not passages:
            return np.empty((0, self.spec.dimension), np.float32)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[kind], self._embed, passages, kind)

    async def peak_operations_per_second(self) -> float | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[models.Kind.DOCUMENT], self._runner.peak)

    async def aclose(self) -> None:
        for thread in self._threads.values():
            await asyncio.to_thread(thread.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._runner.close)

    def _embed(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> embedders.Vectors:
        framed = [[*self._before[kind], *passage.ids, *self._after] for passage in passages]
        return np.concatenate([self._vectors(part, kind) for part in _parts(framed, kind, self.spec.max_tokens)])

    def _vectors(self, framed: Sequence[Sequence[int]], kind: models.Kind) -> embedders.Vectors:
        length = padded_length(max(map(len, framed)), kind, self.spec.max_tokens)
        ids = np.zeros((len(framed), length), np.int32)
        mask = np.zeros((len(framed), length), np.float32)
        for row, tokens in enumerate(framed):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1.0
        output = self._runner.run(ids, mask, kind)
        if output.ndim == _POOLED:
            pooled = output
        elif self.spec.pooling is models.Pooling.CLS:
            pooled = output[:, 0].astype(np.float32)
        else:
            pooled = np.matmul(mask[:, np.newaxis], output)[:, 0] / mask.sum(axis=1, keepdims=True)
        return rows.finished(pooled, normalize=self.spec.normalize)


def padded_length(tokens: int, kind: models.Kind, max_tokens: int) -> int:
    """Rounded up, but never beyond the model."""
    return min(models.padded(tokens, kind), max(max_tokens, tokens))


def known_inputs(names: Sequence[str]) -> set[str]:
    """The inputs of an exported encoder; ValueError if it wants one that no text can give."""
    unknown = set(names) - {"input_ids", "attention_mask", "token_type_ids"}
    if unknown or "input_ids" not in names:
        raise ValueError(f"its inputs are {', '.join(sorted(names))}; an encoder has input_ids and attention_mask")
    return set(names)


def feed_by_name(names: set[str], ids: NDArray[np.int32], mask: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    """What an exported encoder is fed."""
    every = {
        "input_ids": ids.astype(np.int64),
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": np.zeros(ids.shape, np.int64),
    }
    return {name: every[name] for name in names}


def _parts(framed: Sequence[Sequence[int]], kind: models.Kind, max_tokens: int) -> Iterator[Sequence[Sequence[int]]]:
    start, longest = 0, 0
    for end, tokens in enumerate(framed):
        longest = max(longest, padded_length(len(tokens), kind, max_tokens))
        if end > start and longest * (end - start + 1) > _CALL_TOKENS:
            yield framed[start:end]
            start, longest = end, padded_length(len(tokens), kind, max_tokens)
    yield framed[start:]


def fastest(multiply: Callable[[], object], operations: float) -> float:
    """Operations a second of the best of a few rounds, the first one, which warms up, left out.

    Fewer rounds where one takes long: documents wait meanwhile.
    """
    multiply()
    took: list[float] = []
    while len(took) < _PEAK_ROUNDS and sum(took) < _PEAK_SECONDS:
        began = time.perf_counter()
        multiply()
        took.append(time.perf_counter() - began)
    return operations / min(took)
