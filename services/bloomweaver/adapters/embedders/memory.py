"""`mem://`: a deterministic embedder without a model, for tests and the simulator.

A vector is the normalised sum of one pseudo-random direction per word, so equal texts have equal vectors and texts that
share words are closer. It is real enough to search with, and cheap enough to run tens of thousands of times a second.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from array import array
from collections.abc import Callable, Sequence

import numpy as np

from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

_WORD = re.compile(r"\w+|[^\w\s]")
_CACHED_WORDS = 65_536

Fault = Callable[[Sequence[embedders.Passage]], None]


class WordTokenizer:
    """A token per word or sign; its id is the hash of the word in lower case."""

    def encode(self, texts: Sequence[str]) -> list[embedders.Tokens]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> embedders.Tokens:
        ids, starts, ends = array("I"), array("I"), array("I")
        try:
            for match in _WORD.finditer(text):
                ids.append(zlib.crc32(match.group().lower().encode()))
                starts.append(match.start())
                ends.append(match.end())
        except UnicodeEncodeError as error:
            raise errors.PermanentError(reasons.Reason.UNPARSABLE, "the text holds a lone surrogate") from error
        return embedders.Tokens(ids, starts, ends)


def spec_of(*, name: str = "mem", dimension: int = 8, max_tokens: int = 256, prefix: str = "") -> models.ModelSpec:
    """A spec for the fake; the prefix (of queries) makes specs of different spaces."""
    return models.ModelSpec(
        name=name,
        source=models.Source(models.Origin.BUILT_IN, "mem"),
        dimension=dimension,
        max_tokens=max_tokens,
        pooling=models.Pooling.MEAN,
        query_prefix=prefix,
        query_prefix_tokens=len(_WORD.findall(prefix)),
        digests=(("mem", hashlib.sha256(b"mem 1").hexdigest()),),
    )


class MemoryEmbedder:
    """`fault` sees every batch before it is embedded and may raise: the simulator's handle."""

    def __init__(self, spec: models.ModelSpec, *, fault: Fault | None = None) -> None:
        self.spec = spec
        self.space = models.space_of(spec)
        self.tokenizer = WordTokenizer()
        self.fault = fault
        self._prefixes = {kind: self.tokenizer.encode([spec.prefix(kind)])[0].ids for kind in models.Kind}
        self._directions: dict[int, tuple[float, ...]] = {}

    async def embed(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> embedders.Vectors:
        room = self.spec.room(kind)
        for passage in passages:
            if len(passage.ids) > room:
                detail = f"{len(passage.ids)} tokens, model {self.spec.name} takes {room}"
                raise errors.PermanentError(reasons.Reason.TEXT_TOO_LONG, detail)
        if self.fault is not None:
            self.fault(passages)
        prefix = self._prefixes[kind]
        rows = [self._row([*prefix, *passage.ids]) for passage in passages]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.spec.dimension)

    async def aclose(self) -> None:
        self._directions.clear()

    def _row(self, ids: Sequence[int]) -> list[float]:
        total = [sum(column) for column in zip(*map(self._direction, ids), strict=True)]
        norm = math.sqrt(sum(value * value for value in total))
        if norm == 0.0:
            return [1.0] + [0.0] * (self.spec.dimension - 1)
        return [value / norm for value in total]

    def _direction(self, token_id: int) -> tuple[float, ...]:
        direction = self._directions.get(token_id)
        if direction is None:
            shake = hashlib.shake_128(token_id.to_bytes(4, "little")).digest(self.spec.dimension)
            direction = tuple(byte - 127.5 for byte in shake)
            if len(self._directions) < _CACHED_WORDS:
                self._directions[token_id] = direction
        return direction
