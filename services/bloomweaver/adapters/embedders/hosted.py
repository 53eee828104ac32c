"""What all engines elsewhere share: calls of a bounded size, a lane for queries, and no belief in what comes back.

A service is a `Wire`: texts in, as many lists of numbers out. Invariants: an answer of another dimension stops the
process, because another model answers; a row that is not finite becomes NaN, and never reaches an index; a text goes
out whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from bloomweaver.adapters.embedders import rows
from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

BLANK: Final = "."
"""Stands for a text without any sign: services refuse an empty one."""


class Wire(Protocol):
    """One service, spoken to in its own way. Errors come out as ours; the SDK's and the client's retries are off."""

    async def vectors(self, texts: Sequence[str], kind: models.Kind) -> Sequence[Any]:
        """A list of numbers for each text, in their order, as the service gave them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one call may hold, and how many calls of a kind run at once. max_characters: of one text."""

    texts: int = 64
    characters: int = 100_000
    calls: int = 4
    max_characters: int | None = None


class HostedEmbedder:
    """An `embedders.Embedder` over a `Wire`. own_prefixes: the service puts them before texts itself."""

    def __init__(
        self,
        spec: models.ModelSpec,
        tokenizer: embedders.Tokenizer,
        wire: Wire,
        *,
        limits: Limits,
        opened: contextlib.AsyncExitStack,
        own_prefixes: bool = False,
    ) -> None:
        self.spec = spec
        self.space = models.space_of(spec)
        self.tokenizer = tokenizer
        self._wire = wire
        self._limits = limits
        self._opened = opened
        self._prefixes = {kind: "" if own_prefixes else spec.prefix(kind) for kind in models.Kind}
        self._free = {kind: asyncio.Semaphore(limits.calls) for kind in models.Kind}

    async def embed(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> embedders.Vectors:
        rows.require_room(self.spec, passages, kind)
        if not passages:
            return np.empty((0, self.spec.dimension), np.float32)
        texts = [self._sent(passage.text, self._prefixes[kind]) for passage in passages]
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._call(part, kind)) for part in self._parts(texts)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return np.concatenate([call.result() for call in calls])

    async def aclose(self) -> None:
        await self._opened.aclose()

    def _sent(self, text: str, prefix: str) -> str:
        """White space costs no token, but characters: there is less of it where the text would not fit otherwise."""
        sent, most = prefix + (text if text.strip() else BLANK), self._limits.max_characters
        if most is not None and len(sent) > most:
            sent = prefix + " ".join(text.split())
            if len(sent) > most:
                detail = f"{len(sent)} characters, model {self.spec.name} takes {most}"
                raise errors.PermanentError(reasons.Reason.TEXT_TOO_LONG, detail)
        return sent

    def _parts(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        start = characters = 0
        for end, text in enumerate(texts):
            full = end - start == self._limits.texts or characters + len(text) > self._limits.characters
            if full and end > start:
                yield texts[start:end]
                start, characters = end, 0
            characters += len(text)
        yield texts[start:]

    async def _call(self, texts: Sequence[str], kind: models.Kind) -> embedders.Vectors:
        async with self._free[kind]:
            answered = await self._wire.vectors(texts, kind)
        if len(answered) != len(texts):
            raise odd(f"{len(answered)} vectors for {len(texts)} texts")
        return rows.finished(np.stack([self._row(each) for each in answered]), normalize=self.spec.normalize)

    def _row(self, numbers: object) -> embedders.Vectors:
        try:
            row = np.asarray(numbers, dtype=np.float64)
        except (TypeError, ValueError):
            raise odd("a vector that is no list of numbers") from None
        if row.ndim != 1:
            raise odd("a vector that is no list of numbers")
        if len(row) != self.spec.dimension:
            detail = (
                f"the service makes vectors of {len(row)}, model {self.spec.name} is set up for {self.spec.dimension}. "
                "Correct its dimension, or look at which model answers there."
            )
            raise errors.ConfigurationError(reasons.Reason.DIMENSION_MISMATCH, detail)
        with np.errstate(over="ignore"):
            return row.astype(np.float32)


def odd(what: str) -> errors.RetryableError:
    """An answer that makes no sense: counted, because the text may be the cause."""
    return errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"the embedding service answered {what}")
