"""What goes wrong at the wire, drawn from a seed; all zero is a calm day. Fields may be changed while it runs."""

import random
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    """Probabilities per request, and how long things take.

    lag_seconds: from an answered write to readers that see it. throttle: 429, with Retry-After unless that is None.
    unavailable: 503 before any effect. lost_answer: 500 after the whole effect. partial: 500 after half an upsert.
    late: 504, and the write lands late_seconds afterwards. web_page: a page of HTML with status 200.
    positions: whether answers carry log sequence numbers.
    """

    lag_seconds: float = 0.0
    throttle: float = 0.0
    retry_after_seconds: float | None = 0.02
    unavailable: float = 0.0
    lost_answer: float = 0.0
    partial: float = 0.0
    late: float = 0.0
    late_seconds: float = 0.3
    web_page: float = 0.0
    positions: bool = True
    seed: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - faults, not secrets

    def strikes(self, name: str) -> bool:
        """Whether this request meets that fault; counted in `seen`."""
        rate: float = getattr(self, name)
        struck = bool(rate) and self._random.random() < rate
        self.seen[name] += struck
        return struck
