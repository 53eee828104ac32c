"""Turns of rates on PostgreSQL, for deployments without a cache: a small row per key, asked once per block of turns.

Invariants: a question is one statement on one row, and writes no log; it ends within a moment, or nobody knows, and the
database is left alone for a while: whoever asks is about to send it work, and has to come to that.
"""

import asyncio

from bloomweaver import logger
from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.domain import errors
from bloomweaver.ports import caches
from bloomweaver.ports import clock as clocks

CALL_SECONDS = 0.5
PAUSE_SECONDS = 5.0

# The bucket is kept as the time at which it is full again (GCRA), by the database's clock. ON CONFLICT locks the row:
# `held` is what the caller before has left.
_THERE = "floor((excluded.at + {full} - greatest(held.due, excluded.at)) / {interval} + {rounding})::integer"
_GRANTED = "greatest(0, least(%(turns)s::integer, {there}))"
_TEMPLATE = (
    "INSERT INTO rate AS held (key, at, due, granted, there)"
    " SELECT %(key)s, now, now + granted * {interval}, granted, %(burst)s::integer FROM"
    " (SELECT coalesce(%(now)s::float8, extract(epoch FROM clock_timestamp())::float8) AS now,"
    " least(%(turns)s::integer, %(burst)s::integer) AS granted) AS first"
    " ON CONFLICT (key) DO UPDATE SET at = excluded.at, there = {there}, granted = {granted},"
    " due = greatest(held.due, excluded.at) + {granted} * {interval}"
    " RETURNING granted, there, due - at"
)
_INTERVAL = "(1 / %(per_second)s::float8)"
_FULL = f"(%(burst)s::integer * {_INTERVAL})"


def _statement() -> str:
    there = _THERE.format(full=_FULL, interval=_INTERVAL, rounding=caches.ROUNDING)
    return _TEMPLATE.format(interval=_INTERVAL, there=there, granted=_GRANTED.format(there=there))


class PostgresqlLeases:
    """clock: of the pause. call_seconds: for one question."""

    def __init__(self, opened: engine.Engine, *, clock: clocks.Clock, call_seconds: float = CALL_SECONDS) -> None:
        self._engine = opened
        self._clock = clock
        self._call_seconds = call_seconds
        self._statement = _statement()
        self._closed_until = 0.0

    async def lease(self, key: str, turns: int, *, per_second: float, burst: int) -> caches.Lease | None:
        if self._clock.monotonic() < self._closed_until:
            return None
        asked = {
            "key": key, "turns": turns, "per_second": per_second, "burst": burst, "now": self._engine.told_time,
        }  # fmt: skip
        try:
            async with asyncio.timeout(self._call_seconds):
                ((granted, there, busy_seconds),) = await self._engine.fetch(self._statement, asked)
        except (errors.BloomWeaverError, TimeoutError) as error:
            self._closed_until = self._clock.monotonic() + PAUSE_SECONDS
            log = logger.get("rates")
            log.warning("rates_not_shared", error=error.__class__.__name__, seconds=PAUSE_SECONDS)
            return None
        if granted < 1:
            return caches.Lease(0, 0, max(0.0, busy_seconds - (burst - 1) / per_second))
        return caches.Lease(granted, there - granted, 0.0)
