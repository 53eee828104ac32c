"""`mem://`: a cache inside the process, of so many values; those used longest ago go first."""

import collections
from collections.abc import Mapping, Sequence

from bloomweaver.ports import caches
from bloomweaver.ports import clock as clocks

MAX_VALUES = 10_000
MAX_VALUE_BYTES = 256 * 1024


class MemoryCache:
    """max_values: how many it holds."""

    def __init__(self, *, clock: clocks.Clock, max_values: int = MAX_VALUES) -> None:
        self._clock = clock
        self._max_values = max_values
        self._held: collections.OrderedDict[str, tuple[float, bytes]] = collections.OrderedDict()

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._get(key) for key in keys]

    async def put(self, values: Mapping[str, bytes], *, seconds: float) -> None:
        for key, value in values.items():
            self._put(key, value, seconds)

    async def raise_to(self, key: str, number: int, *, seconds: float) -> None:
        held = self._get(key)
        self._put(key, str(max(number, int(held or number))).encode(), seconds)

    async def lease(self, key: str, turns: int, *, per_second: float, burst: int) -> caches.Lease:
        now, interval = self._clock.monotonic(), 1 / per_second
        due = max(float(self._get(key) or 0), now)
        there = int((now + burst * interval - due) / interval + caches.ROUNDING)
        granted = min(turns, there)
        if granted < 1:
            return caches.Lease(0, 0, due - now - (burst - 1) * interval)
        self._put(key, repr(due + granted * interval).encode(), (burst + 1) * interval)
        return caches.Lease(granted, there - granted, 0.0)

    async def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._held.pop(key, None)

    def _get(self, key: str) -> bytes | None:
        until, value = self._held.get(key, (0.0, None))
        if value is None:
            return None
        if until <= self._clock.monotonic():
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return value

    def _put(self, key: str, value: bytes, seconds: float) -> None:
        self._held.pop(key, None)
        if len(value) <= MAX_VALUE_BYTES:
            self._held[key] = (self._clock.monotonic() + seconds, value)
        if len(self._held) > self._max_values:
            self._held.popitem(last=False)
