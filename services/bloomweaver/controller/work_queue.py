"""Which resources have to be looked at, each once, however often it was said; one that fails comes again later.

Invariants: a key is worked by one worker at a time; what is said about it meanwhile has it looked at once more
afterwards; a key that keeps failing never holds up another.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from bloomweaver.ports import clock as clocks

FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Depth:
    """keys: that wait now. oldest_seconds: how long the oldest of them has."""

    keys: int
    oldest_seconds: float


class WorkQueue:
    """Keys are `namespace/name`."""

    def __init__(self, *, clock: clocks.Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, float] = {}
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._some = asyncio.Event()

    def add(self, key: str) -> None:
        """It has to be looked at now."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._working:
            self._again.add(key)
        else:
            self._waiting.setdefault(key, self._clock.monotonic())
            self._some.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Look again then, unless something happens before; the later of two wishes gives way."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    async def take(self) -> str:
        """The key that has waited longest."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: str, *, again_seconds: float | None) -> None:
        """It was looked at; again_seconds: when to look again without a cause, None for never."""
        self._failures.pop(key, None)
        self._ended(key)
        if again_seconds is not None and key not in self._waiting:
            self.add_after(key, again_seconds)

    def failed(self, key: str) -> float:
        """It could not be done; seconds until it is tried again."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        seconds = float(min(FIRST_RETRY_SECONDS * 2 ** min(count, 16), LONGEST_RETRY_SECONDS))
        self._ended(key)
        if key not in self._waiting:
            self.add_after(key, seconds)
        return seconds

    def forget(self, key: str) -> None:
        """The resource is gone."""
        self._failures.pop(key, None)
        self._again.discard(key)
        self._waiting.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def depth(self) -> Depth:
        """For the metrics."""
        now = self._clock.monotonic()
        return Depth(len(self._waiting), max((now - since for since in self._waiting.values()), default=0.0))

    def _ended(self, key: str) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
