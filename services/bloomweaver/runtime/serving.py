"""The HTTP server of a process: answers until `stop`, then finishes the requests at hand.

Signals are left to the process, which has more to end than its server.
"""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette import types

from bloomweaver.runtime import connections

GRACEFUL_SECONDS: Final = 10
GARBAGE_THRESHOLDS: Final = (10_000, 20, 50)


class Server(uvicorn.Server):
    """uvicorn's, without its signal handlers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield

    def stop(self) -> None:
        """Take no more connections, finish what is under way."""
        self.should_exit = True

    async def answer(self, listener: socket.socket) -> None:
        """Answer requests until stopped."""
        try:
            await self.serve(sockets=[listener])
        finally:
            self._stopped.set()

    def settle(self) -> None:
        """Everything is open: see `settle_garbage`."""
        settle_garbage()

    async def drained(self) -> None:
        """Stop, and wait for what is under way."""
        self.stop()
        await self._stopped.wait()


def server_of(app: types.ASGIApp, *, graceful_seconds: float = GRACEFUL_SECONDS) -> Server:
    """A server for an application; `answer` runs it. graceful_seconds: for the requests at hand, after `stop`."""
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            http=connections.Connection,
            lifespan="off",
            interface="asgi3",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=max(1, round(min(graceful_seconds, GRACEFUL_SECONDS))),
        )
    )


def settle_garbage() -> None:
    """What is there by now stays. Not looked through by every collection of garbage, it costs no request any more."""
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
