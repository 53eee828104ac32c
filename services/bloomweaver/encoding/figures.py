"""What a lane of the batcher knows of itself: plain numbers, for metrics and for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Inference:
    """One batch that was computed. padded: tokens that the machine worked on."""

    passages: int
    tokens: int
    padded: int
    seconds: float


@dataclass(slots=True)
class Figures:
    """Totals since the start, and two gauges (`waiting_*`)."""

    passages_total: int = 0
    failures_total: int = 0
    batches_total: int = 0
    tokens_total: int = 0
    padded_tokens_total: int = 0
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
