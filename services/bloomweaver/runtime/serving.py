"""The HTTP server of a process: answers until `stop`, then finishes the requests at hand.

Signals are left to the process, which has more to end than its server.
"""

import contextlib
import gc
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette import types

GRACEFUL_SECONDS: Final = 10
GARBAGE_THRESHOLDS: Final = (10_000, 20, 50)


class Server(uvicorn.Server):
    """uvicorn's, without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield

    def stop(self) -> None:
        """Take no more connections, finish what is under way."""
        self.should_exit = True


def server_of(app: types.ASGIApp) -> Server:
    """A server for an application; `serve(sockets=[listener])` runs it."""
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
    )


def settle_garbage() -> None:
    """What is there by now stays. Not looked through by every collection of garbage, it costs no request any more."""
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
