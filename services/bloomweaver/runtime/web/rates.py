"""How often a key may ask: so many requests a second on average, with bursts, over all processes together.

Processes share a key's turns in the cache, or without one in a database that can: each takes a block of turns at once
and gives them out itself, so that hardly any request waits for that. Where there is neither, or it is away, each
process counts for itself: limits are there against too much work, and an outage is no reason to refuse work. Off unless
asked for.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette import datastructures, types

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import caches, opened
from bloomweaver.ports import clock as clocks
from bloomweaver.runtime.web import authentication, problems

MAX_KEYS: Final = 100_000
BLOCK_SECONDS: Final = 0.1
"""A block holds the turns of so long, at most a quarter of a burst."""
KEEP_SECONDS: Final = 1.0
"""What is left of a block after so long is forgotten: other processes may need it, and have had it meanwhile."""


@dataclass(frozen=True, slots=True)
class Rate:
    """per_second: on average. burst: at once, after a pause."""

    per_second: float
    burst: int

    @property
    def policy(self) -> str:
        """For the header RateLimit-Policy: quota and window in seconds."""
        return f'"key";q={self.burst};w={math.ceil(self.burst / self.per_second)}'


@dataclass(slots=True)
class _Held:
    """What this process knows of a key. turns: leased and not given out. due: its own count."""

    turns: int = 0
    left: int = 0
    kept_until: float = 0.0
    closed_until: float = 0.0
    due: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimiter:
    """Gives out turns. told: hears how each question for a lease ended: `granted`, `empty` or `away`."""

    def __init__(
        self,
        rate: Rate,
        *,
        clock: clocks.Clock,
        leases: caches.Leases | None = None,
        told: Callable[[str], None] = lambda outcome: None,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self.rate = rate
        self._clock = clock
        self._leases = leases
        self._told = told
        self._max_keys = max_keys
        self._interval_seconds = 1.0 / rate.per_second
        self._block = max(1, min(rate.burst // 4, math.ceil(rate.per_second * BLOCK_SECONDS)))
        self._held: dict[str, _Held] = {}

    async def take(self, key: str) -> int:
        """Take one turn; gives how many more there are for certain. TransientError(RATE_LIMITED) for none."""
        held = self._of(key)
        if self._leases is None:
            return self._counted(held)
        if self._given(held):
            return held.turns + held.left
        async with held.asking:
            if self._given(held):
                return held.turns + held.left
            return await self._leased(key, held, self._leases)

    def _of(self, key: str) -> _Held:
        held = self._held.pop(key, None) or _Held()
        if len(self._held) >= self._max_keys:
            # The one that has not asked for longest.
            del self._held[next(iter(self._held))]
        self._held[key] = held
        return held

    def _given(self, held: _Held) -> bool:
        """A turn of the block, or a refusal that is known already: neither asks anybody."""
        now = self._clock.monotonic()
        if now < held.closed_until:
            raise _refused(held.closed_until - now)
        if held.turns < 1 or now >= held.kept_until:
            return False
        held.turns -= 1
        return True

    async def _leased(self, key: str, held: _Held, leases: caches.Leases) -> int:
        rate = self.rate
        name = f"bloomweaver/rates/{key}"
        lease = await leases.lease(name, self._block, per_second=rate.per_second, burst=rate.burst)
        if lease is None:
            self._told("away")
            return self._counted(held)
        now = self._clock.monotonic()
        if lease.granted < 1:
            self._told("empty")
            held.closed_until = now + lease.wait_seconds
            raise _refused(lease.wait_seconds)
        self._told("granted")
        held.turns, held.left, held.kept_until = lease.granted - 1, lease.left, now + KEEP_SECONDS
        return held.turns + held.left

    def _counted(self, held: _Held) -> int:
        """By this process alone: the time at which the bucket is full again says how full it is."""
        now = self._clock.monotonic()
        due = max(held.due, now)
        wait_seconds = due - now - (self.rate.burst - 1) * self._interval_seconds
        if wait_seconds > caches.ROUNDING * self._interval_seconds:
            raise _refused(wait_seconds)
        held.due = due + self._interval_seconds
        return int(self.rate.burst - (held.due - now) / self._interval_seconds + caches.ROUNDING)


def wished(per_second: float | None, *, burst: int) -> Rate | None:
    """The rate that settings ask for; None for none."""
    return None if per_second is None else Rate(per_second, burst)


def limiter_of(rate: Rate | None, ports: opened.Ports, *, told: Callable[[str], None]) -> RateLimiter | None:
    """The limiter of a process: it shares turns with others where there is a place for that."""
    return None if rate is None else RateLimiter(rate, clock=ports.clock, leases=ports.leases, told=told)


class Middleware:
    """Takes the key's turn and says in RateLimit how many are left; stands behind authentication."""

    def __init__(self, app: types.ASGIApp, *, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        principal = scope.get(authentication.PRINCIPAL_KEY)
        if principal is None:
            await self._app(scope, receive, send)
            return
        # Problems are answered outside of this layer, and take the headers from there.
        headers = scope[problems.HEADERS_KEY] = {"RateLimit-Policy": self._limiter.rate.policy}
        try:
            left = await self._limiter.take(principal.key_id)
        except errors.TransientError as error:
            headers["RateLimit"] = f'"key";r=0;t={max(1, math.ceil(error.retry_after_seconds))}'
            raise
        headers["RateLimit"] = f'"key";r={left};t={math.ceil(1 / self._limiter.rate.per_second)}'

        async def told(message: types.Message) -> None:
            if message["type"] == "http.response.start":
                datastructures.MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, told)


def _refused(wait_seconds: float) -> errors.TransientError:
    detail = "This key's rate is used up. Try again after the time in Retry-After."
    return errors.TransientError(Reason.RATE_LIMITED, detail, retry_after_seconds=wait_seconds)
