"""Tells the controller that something came, so that it looks at the ledger now instead of within a second.

A call carries nothing and is believed by nobody: what is lost costs that second. Invariants: no accept waits for a
call, there is never more than one under way, and a controller that is away costs a line in the log a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2

from bloomweaver import logger
from bloomweaver.ports import clock as clocks

LEAST_SECONDS: Final = 0.2
TIMEOUT_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 60.0


class Waker:
    """`note` is told of every change; `run` calls `url` for them, until it is cancelled."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        url: str,
        *,
        clock: clocks.Clock,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._rest = rest
        self._noted = asyncio.Event()
        self._told: float | None = None
        self._log = logger.get("waking")

    def note(self) -> None:
        """Something waits."""
        self._noted.set()

    async def run(self) -> None:
        """The first change is told at once, those that come within LEAST_SECONDS of it together."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            await self._call()
            await self._rest(LEAST_SECONDS)

    async def _call(self) -> None:
        try:
            response = await self._http.post(self._url, timeout=TIMEOUT_SECONDS)
        except httpx2.HTTPError as error:
            self._tell(type(error).__name__)
        else:
            if not response.is_success:
                self._tell(f"status {response.status_code}")

    def _tell(self, why: str) -> None:
        now = self._clock.monotonic()
        if self._told is None or now - self._told >= QUIET_SECONDS:
            self._told = now
            self._log.warning("wake_failed", why=why, costs="pods start up to a second later")
