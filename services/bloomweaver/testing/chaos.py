"""What may go wrong around a port call, drawn from a seed: one `Chaos` per history, asked before and after every call.

Invariant: a fault is something that the port's guarantees allow. A call is lost before its effect or after it, late,
throttled, refused in an outage, or its process dies or freezes around it; its effect is never torn.
"""

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import loop as loops

T = TypeVar("T")

AWAY = {
    "ledger": Reason.LEDGER_UNAVAILABLE,
    "queues": Reason.QUEUE_UNAVAILABLE,
    "blobs": Reason.BLOBS_UNAVAILABLE,
    "vectors": Reason.VECTORS_UNAVAILABLE,
    "embedders": Reason.EMBEDDER_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities per call (or per hint, per write), and how long things take. All zero: a calm world.

    freeze: the whole process stops for freeze_seconds, heartbeats included: afterwards it is a zombie.
    lost_answer: the effect happened, the caller is told that the port is away.
    late_write: an upsert or delete fails for its caller and lands up to late_seconds later.
    """

    latency_seconds: float = 0.01
    slow: float = 0.0
    slow_seconds: float = 20.0
    crash: float = 0.0
    restart_seconds: float = 30.0
    freeze: float = 0.0
    freeze_seconds: tuple[float, float] = (40.0, 400.0)
    throttle: float = 0.0
    lost_answer: float = 0.0
    hint_lost: float = 0.0
    hint_doubled: float = 0.0
    hint_delayed: float = 0.0
    hint_delay_seconds: float = 120.0
    late_write: float = 0.0
    late_seconds: float = 400.0
    partial_write: float = 0.0
    blob_absent: float = 0.0
    lag_seconds: float = 0.0
    before_rows_seconds: float = 0.0
    before_rows: float = 0.0


@dataclass(slots=True)
class Outage:
    """A port is away from `begins` to `ends`, seconds on the loop's clock."""

    port: str
    begins: float
    ends: float


@dataclass(slots=True)
class Chaos:
    """The faults of one history. `calm` ends them all; `counts` tells how often each was; `trace` sees every call."""

    rng: random.Random
    rates: Rates
    loop: loops.VirtualLoop
    outages: list[Outage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    on_crash: Callable[[loops.Host], None] = lambda host: host.kill()
    trace: Callable[[str, str, str], None] = lambda host, site, what: None
    calm: bool = False
    _detached: list[asyncio.Task[object]] = field(default_factory=list)

    def chance(self, rate: float) -> bool:
        """Whether a fault of that rate happens now."""
        return rate > 0.0 and not self.calm and self.rng.random() < rate

    def away(self, port: str) -> bool:
        """Whether the port is in an outage now."""
        now = self.loop.time()
        return any(o.port == port and o.begins <= now < o.ends for o in self.outages)

    async def call(
        self, host: loops.Host, port: str, method: str, effect: Callable[[], Awaitable[T]], *, mutates: bool = False
    ) -> T:
        """The effect, with whatever goes wrong before and after it."""
        await self.before(host, port, method)
        site = f"{port}.{method}"
        try:
            result = await effect()
        except errors.BloomWeaverError as error:
            self.trace(host.name, site, str(error.reason))
            raise
        self.trace(host.name, site, "ok")
        self.after(host, port, method, mutates=mutates)
        return result

    async def before(self, host: loops.Host, port: str, method: str) -> None:
        """Time passes; then the process may die, freeze or be refused, all before the effect."""
        host.check()
        rates, chance = self.rates, self.rng.random
        delay = chance() * 2.0 * rates.latency_seconds
        # The rates are asked here rather than through `chance`: this runs a thousand times in a history.
        if rates.slow and not self.calm and chance() < rates.slow:
            delay = chance() * rates.slow_seconds
        await self.loop.pause(delay)
        if rates.freeze and not self.calm and chance() < rates.freeze:
            low, high = rates.freeze_seconds
            host.frozen_until = self.loop.time() + low + chance() * (high - low)
            self.counted(host, f"{port}.{method}", "freeze")
        while True:  # nothing of a frozen process goes on, and a later freeze prolongs the earlier
            host.check()
            if (left := host.frozen_until - self.loop.time()) <= 0.0:
                break
            await self.loop.pause(left)
        if self.calm:
            return
        if rates.crash and chance() < rates.crash:
            self.crash(host, f"{port}.{method}", "crash_before")
        if self.outages and self.away(port):
            self.counted(host, f"{port}.{method}", f"{port}_away")
            raise errors.TransientError(AWAY[port], "away", retry_after_seconds=2.0)
        if rates.throttle and chance() < rates.throttle:
            self.counted(host, f"{port}.{method}", "throttle")
            reason = Reason.THROTTLED if port == "vectors" else AWAY[port]
            raise errors.TransientError(reason, "throttled", retry_after_seconds=1.0 + chance() * 5.0)

    def after(self, host: loops.Host, port: str, method: str, *, mutates: bool) -> None:
        """After the effect: the process may die, or never hear of it."""
        host.check()
        rates = self.rates
        if self.calm:
            return
        if rates.crash and self.rng.random() < rates.crash:
            self.crash(host, f"{port}.{method}", "crash_after_commit" if mutates else "crash_after")
        if mutates and rates.lost_answer and self.rng.random() < rates.lost_answer:
            self.counted(host, f"{port}.{method}", "lost_answer")
            raise errors.TransientError(AWAY[port], "the answer was lost", retry_after_seconds=2.0)

    def detach(self, work: Coroutine[object, object, object]) -> None:
        """Something outside of every process goes on: a request that is already on the wire."""
        self._detached.append(self.loop.create_task(work, context=contextvars.Context()))

    def crash(self, host: loops.Host, site: str, what: str) -> None:
        """Kill the process that makes this call."""
        self.counted(host, site, what)
        self.on_crash(host)
        raise loops.Killed(host.name)

    def counted(self, host: loops.Host, site: str, what: str) -> None:
        """One more of these."""
        self.counts[what] += 1
        self.trace(host.name, site, what)
