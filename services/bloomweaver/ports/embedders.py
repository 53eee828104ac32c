"""The embedders port: tokens and vectors of one model in one runtime.

Guarantees that every adapter gives (`bloomweaver.testing.contracts.embedders` checks them):

- Nothing is ever truncated: a passage over `spec.room(kind)` is PermanentError(TEXT_TOO_LONG), and nothing is embedded.
- Special tokens and the prefix of the kind are the adapter's: callers hand over the text's own tokens only.
- Vectors are float32, in the order given, of unit norm within 1e-5 where `spec.normalize` says so, and independent of
  what else is in the batch (cosine >= 0.9999 against the passage embedded alone).
- A passage that the model computes to NaN or infinity gets a row of NaN; the other rows hold. Any other failure raises,
  and nothing is known of any row.
- Kind.QUERY is a lane of its own: a query waits for no more than one document batch.
- Calls may overlap, from one event loop. Blocking work runs in threads that the adapter owns.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bloomweaver.domain import models

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's tokens without special tokens: `ids[i]` stands for code points `starts[i]` to `ends[i]` (typecode I)."""

    ids: array[int]
    starts: array[int]
    ends: array[int]


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with its token ids: runtimes on this machine read the ids, services elsewhere read the text."""

    text: str
    ids: array[int]


class Tokenizer(Protocol):
    """Cuts texts into the model's tokens. Synchronous, callable from any thread."""

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Never truncates, adds no special tokens; offsets rise and do not overlap.

        Text that the model ignores (white space, control characters) has no token. PermanentError(UNPARSABLE) for a
        text that is not Unicode (a lone surrogate).
        """
        ...


class Embedder(Protocol):
    """One model, loaded and ready."""

    @property
    def spec(self) -> models.ModelSpec:
        """The model, with its digests known."""
        ...

    @property
    def space(self) -> str:
        """`models.space_of(spec)`."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        ...

    async def embed(self, passages: Sequence[Passage], kind: models.Kind) -> Vectors:
        """One row of `spec.dimension` per passage."""
        ...

    async def aclose(self) -> None:
        """Ends the adapter's threads and frees the model; later calls are an error."""
        ...


@runtime_checkable
class SelfMeasuring(Protocol):
    """An embedder that computes on this machine and can tell how fast the machine is."""

    async def peak_operations_per_second(self) -> float | None:
        """What its runtime reaches at best here, in the arithmetic of documents; None if it cannot tell.

        A matrix multiplication of the model's own shape, nothing around it: some 50 ms on the lane of documents.
        """
        ...
