"""How many padded tokens a batch holds: found by trying, on the work itself.

The best number is where a batch's activations still fit the caches, which differs by machine, model and precision. The
first full batches are the trial: the budget doubles for as long as more tokens a second come of it. Nothing is computed
for the trial alone, so a cold start pays nothing for it. What callers can bear to wait for is a bound of its own.
"""

from typing import Final

FLOOR_TOKENS: Final = 256
START_TOKENS: Final = 512
_TRIES: Final = 3
_WORTH: Final = 0.98
"""A larger batch stays unless it is slower by more than this: rates of single batches are noisy."""
_MEMORY: Final = 0.5
"""Weight of the newest batch in the rate that the budget is bounded by."""


class Budget:
    """Invariant: never above `ceiling_tokens`, never above what memory was found to hold, and never below the floor."""

    def __init__(self, ceiling_tokens: int) -> None:
        self._ceiling = ceiling_tokens
        self._chosen = min(START_TOKENS, ceiling_tokens)
        self._found = False
        self._tries: list[float] = []
        self._best = (0.0, self._chosen)
        self._rate = 0.0

    def tokens(self, *, seconds: float) -> int:
        """For the next batch, which should take no longer than `seconds`."""
        if not self._rate:
            return self._chosen
        return max(min(FLOOR_TOKENS, self._ceiling), min(self._chosen, int(self._rate * seconds)))

    def observe(self, computed_tokens: int, seconds: float) -> None:
        """Learn from a batch that was computed."""
        if seconds <= 0:
            return
        rate = computed_tokens / seconds
        self._rate = rate if not self._rate else self._rate + _MEMORY * (rate - self._rate)
        if self._found or 2 * computed_tokens <= self._chosen:
            return  # a batch that is half empty does not tell what a full one would do
        self._tries.append(rate)
        if len(self._tries) == _TRIES:
            self._step(max(self._tries))

    def out_of_memory(self) -> None:
        """A batch of this budget does not fit the memory: half of it, for good."""
        self._ceiling = self._chosen = max(min(FLOOR_TOKENS, self._ceiling), self._chosen // 2)
        self._found = True

    def _step(self, rate: float) -> None:
        self._tries.clear()
        best, at = self._best
        if rate < _WORTH * best:
            self._chosen, self._found = at, True
            return
        self._best = (max(rate, best), self._chosen)
        if self._chosen >= self._ceiling:
            self._found = True
        self._chosen = min(self._ceiling, 2 * self._chosen)
