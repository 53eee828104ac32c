"""What a lane of the batcher knows of itself: plain numbers, for metrics and for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from bloomweaver.domain import models


@dataclass(frozen=True, slots=True)
class Inference:
    """One batch that was computed.

    padded: tokens that the machine worked on. wait_seconds: of who waited longest. operations: multiplications and
    additions that the text itself asked for, padding not counted.
    """

    kind: models.Kind
    passages: int
    tokens: int
    padded: int
    seconds: float
    wait_seconds: float
    operations: float


@dataclass(slots=True)
class Figures:
    """Totals since the start, and two gauges (`waiting_*`)."""

    passages_total: int = 0
    failures_total: int = 0
    batches_total: int = 0
    tokens_total: int = 0
    padded_tokens_total: int = 0
    operations_total: float = 0.0
    busy_seconds_total: float = 0.0
    wait_seconds_total: float = 0.0
    waiting_passages: int = 0
    waiting_bytes: int = 0
    budget_tokens: int = 0

    @property
    def fill(self) -> float:
        """The part of the computed tokens that was text, 0 to 1."""
        return self.tokens_total / self.padded_tokens_total if self.padded_tokens_total else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Text tokens per second of embedding, waiting not counted."""
        return self.tokens_total / self.busy_seconds_total if self.busy_seconds_total else 0.0

    @property
    def backlog_seconds(self) -> float:
        """How long what waits will take, from a second to a minute."""
        each = self.busy_seconds_total / self.passages_total if self.passages_total else 0.0
        return min(60.0, max(1.0, each * self.waiting_passages))


def operations(shape: models.Architecture | None, lengths: Sequence[int]) -> float:
    """What the network multiplies and adds for passages of these lengths; 0 where its shape is not known."""
    if shape is None:
        return 0.0
    tokens, pairs = sum(lengths), sum(length * length for length in lengths)
    linear = tokens * (8 * shape.hidden * shape.hidden + 4 * shape.hidden * shape.intermediate)
    return float(shape.layers * (linear + 4 * pairs * shape.hidden))
