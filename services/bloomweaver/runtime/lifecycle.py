"""A process's life: background tasks that must not die unseen, and an orderly end.

Invariant: a task that ends by itself ends the process, with its error; nobody serves on with a dead limb.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from bloomweaver import logger
from bloomweaver.domain.errors import ConfigurationError
from bloomweaver.domain.reasons import Reason

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@contextlib.asynccontextmanager
async def beside(
    tasks: Mapping[str, Callable[[], Awaitable[None]]], *, on_death: Callable[[], None]
) -> AsyncIterator[None]:
    """Run tasks beside the body and cancel them after it. on_death is called once when one of them dies first."""
    log = logger.get("lifecycle")
    running: list[asyncio.Task[None]] = []
    ending = False

    def ended(task: asyncio.Task[None]) -> None:
        if ending or task.cancelled():
            return
        log.error("task_died", task=task.get_name(), exc_info=task.exception())
        on_death()

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        await work()

    for name, work in tasks.items():
        task = asyncio.create_task(run(work), name=name)
        task.add_done_callback(ended)
        running.append(task)
    try:
        yield
    finally:
        ending = True
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do something, rest, and again, for ever."""
    while True:
        await work()
        await asyncio.sleep(seconds)


async def pause(seconds: float, *, unless: asyncio.Event) -> None:
    """A rest that the event ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await unless.wait()


def listener_of(host: str, port: int, *, fd: int | None) -> socket.socket:
    """The listening socket of a process: one that its starter opened, else one on host and port."""
    if fd is None:
        return listen(host, port)
    try:
        listener = socket.socket(fileno=fd)
        listener.getsockname()
    except OSError as error:
        detail = f"BLOOMWEAVER_LISTENER_FD is {fd}, which is no open socket: {error.strerror}."
        raise ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from error
    listener.setblocking(False)
    return listener


def runner() -> asyncio.Runner:
    """An event loop, the fast one where there is one."""
    if sys.platform == "win32":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigurationError(PORT_IN_USE) says what to do. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        detail = f"Cannot listen on {host}:{port}: {error.strerror}. Choose another one with --port."
        raise ConfigurationError(Reason.PORT_IN_USE, detail) from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener
