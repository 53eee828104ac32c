"""What the double does wrong, and how often: each field is a probability, and what it stands for can really happen.

Invariant: the same seed and the same calls in the same order give the same faults.
"""

import random
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Nothing of it breaks SQS's promises: at least once, in no order, possibly late, approximate counts.

    Per call: throttle, unavailable, lose_requests (never done), lose_answers (done, and nobody hears of it), slow (by
    up to slow_seconds). Per entry of a batch: fail_entries (half of them done all the same). Per delivery: duplicate (a
    copy stays visible), expire (its time-out ends at once). Per message: late (by up to late_seconds). Per receive:
    reorder, empty. Per count: stale_counts (what was told before).
    """

    throttle: float = 0.0
    unavailable: float = 0.0
    lose_requests: float = 0.0
    lose_answers: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 0.05
    fail_entries: float = 0.0
    duplicate: float = 0.0
    expire: float = 0.0
    late: float = 0.0
    late_seconds: float = 1.0
    reorder: float = 0.0
    empty: float = 0.0
    stale_counts: float = 0.0


class Dice:
    """Throws for the faults in force, and counts what happened."""

    def __init__(self, *, seed: int = 0, misbehaviour: Misbehaviour | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose
        self.misbehaviour = misbehaviour or Misbehaviour()
        self.happened: Counter[str] = Counter()

    def falls(self, fault: str) -> bool:
        """Whether this fault happens now."""
        chance: float = getattr(self.misbehaviour, fault)
        if chance <= 0.0 or self._random.random() >= chance:
            return False
        self.happened[fault] += 1
        return True

    def up_to(self, most: float) -> float:
        """Anything from nothing to `most`."""
        return self._random.random() * most

    def half(self) -> bool:
        """One of two."""
        return self._random.random() < 0.5
