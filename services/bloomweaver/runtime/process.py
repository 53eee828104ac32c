"""The life of one process: settings, listener, stores, work, an orderly end. A service's main.py hands itself over.

- Settings that are wrong, and stores that are set up wrongly, end it with code 78 and one line: what, why, what next.
- A store that is away at the start, or not migrated yet, is waited for, as long as it takes, unready and saying so.
- SIGTERM or SIGINT: unready, stop receiving, finish or give back, code 0. A second one ends it at once.
- A part that ends by itself ends the process, code 70: nothing is ever half alive.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

import bloomweaver
from bloomweaver import logger
from bloomweaver.domain.errors import BloomWeaverError, NotMigratedError, TransientError, WorkError
from bloomweaver.ports import clock as clocks
from bloomweaver.runtime import commands, doors, environment, health, lifecycle, logs, metrics, settings, tracing

if TYPE_CHECKING:
    from starlette import types

    from bloomweaver.runtime import serving

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 10.0
CUT_OFF_SECONDS: Final = 5.0
OK, SOFTWARE, CONFIGURATION = 0, 70, 78
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

SettingsT = TypeVar("SettingsT", bound=settings.ProcessSettings)


@dataclass(slots=True)
class Host:
    """What a service finds in its process. `die` ends it, because a part of it has."""

    metrics: metrics.Metrics
    health: health.Health
    tracer: tracing.Tracer
    clock: clocks.Clock
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    dead: bool = False

    def die(self) -> None:
        """Something that has to run has ended."""
        self.dead = True
        self.ending.set()


@dataclass(frozen=True, slots=True)
class Program(Generic[SettingsT]):
    """A service as a process. begin: opens it, gives the application that answers, or None for a worker."""

    name: str
    about: str
    settings: type[SettingsT]
    begin: Callable[[SettingsT, Host], contextlib.AbstractAsyncContextManager["types.ASGIApp | None"]]
    clock: Callable[[], clocks.Clock]


def main(program: Program[SettingsT], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run it to its end; the exit code says how it ended."""
    variables = environment.read()
    try:
        wishes = commands.read(
            program.settings,
            program=f"bloomweaver-{program.name}",
            about=program.about,
            arguments=arguments,
            variables=variables,
            out=sys.stdout,
        )
        if wishes is None:
            sys.exit(OK)
        logs.configure(form=logs.form_of(wishes.log_form, sys.stderr), level=wishes.log_level, stream=sys.stderr)
        with lifecycle.runner() as runner:
            code = runner.run(_life(program, wishes, variables))
    except BloomWeaverError as error:
        commands.tell(error, name=f"bloomweaver-{program.name}", out=sys.stderr)
        code = SOFTWARE if isinstance(error, WorkError) else CONFIGURATION
    sys.exit(code)


async def _life(program: Program[SettingsT], wishes: SettingsT, variables: Mapping[str, str]) -> int:
    version, clock = bloomweaver.__version__, program.clock()
    recorder = metrics.Metrics(metrics.process_registry(), version=version)
    with (
        lifecycle.listener_of(wishes.host, wishes.port, fd=wishes.listener_fd) as listener,
        tracing.opened_tracer(f"bloomweaver-{program.name}", version=version, variables=variables) as tracer,
    ):
        host = Host(recorder, health.Health(clock=clock), tracer, clock)
        host.health.hold("start", "still opening")
        door = doors.Door(host.health, recorder)
        with _signals(host), _lifeline(host, wishes.lifeline_fd):
            async with _answering(door, listener, host, grace_seconds=wishes.grace_seconds) as server:
                log = logger.get("process").bind(service=program.name, version=version)
                log.info("listening", address=listener.getsockname()[:2], process=os.getpid())
                await _until_ended(_Work(program, wishes, host, door, server), wishes.grace_seconds)
                log.info("ended", dead=host.dead)
    return SOFTWARE if host.dead else OK


@dataclass(slots=True)
class _Work(Generic[SettingsT]):
    """From opening to drained, in one task."""

    program: Program[SettingsT]
    wishes: SettingsT
    host: Host
    door: doors.Door
    server: "serving.Server"
    started: bool = False

    async def run(self) -> None:
        """Open, work until the end is wished, drain."""
        async with contextlib.AsyncExitStack() as stack:
            app = await self._opened(stack)
            self.started, self.door.app = True, app
            self.host.health.release("start")
            if app is not None:
                self.server.settle()
            logger.get("process").info("started", service=self.program.name)
            await self.host.ending.wait()
            self.host.health.hold("stopping", "what is in work is finished")
            if app is not None:
                await self.server.drained()

    async def _opened(self, stack: contextlib.AsyncExitStack) -> "types.ASGIApp | None":
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await stack.enter_async_context(self.program.begin(self.wishes, self.host))
            except (TransientError, NotMigratedError) as error:
                self.host.health.hold("start", f"waits: {error.reason}")
                logger.get("process").warning(
                    "waits_for_dependency", reason=str(error.reason), detail=error.detail, again_in_seconds=pause
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _until_ended(work: _Work[SettingsT], grace_seconds: float) -> None:
    """Until the work has ended by itself, or was asked to and had its grace."""
    running = asyncio.create_task(work.run(), name="work")
    ending = asyncio.create_task(work.host.ending.wait())
    await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not running.done():
        if not work.started:
            running.cancel()
        await asyncio.wait({running}, timeout=grace_seconds)
    if not running.done():
        logger.get("process").warning("grace_over", grace_seconds=grace_seconds)
        running.cancel()
        await asyncio.wait({running}, timeout=CUT_OFF_SECONDS)
    if running.done() and not running.cancelled():
        running.result()


@contextlib.asynccontextmanager
async def _answering(
    door: doors.Door, listener: socket.socket, host: Host, *, grace_seconds: float
) -> AsyncIterator["serving.Server"]:
    from bloomweaver.runtime import serving  # its import is a part of the start that --help need not wait for

    server = serving.server_of(door, graceful_seconds=grace_seconds / 2)

    def ended(_: object) -> None:
        if not host.ending.is_set():
            host.die()

    task = asyncio.create_task(server.answer(listener), name="listener")
    task.add_done_callback(ended)
    try:
        yield server
    finally:
        server.stop()
        await task


@contextlib.contextmanager
def _signals(host: Host) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def heard(number: int) -> None:
        if host.ending.is_set():
            os._exit(128 + number)
        host.ending.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, heard, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _lifeline(host: Host, fd: int | None) -> Iterator[None]:
    """Who started this holds the other end; when it is gone, nobody is left to end this."""
    if fd is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, host.ending.set)
    try:
        yield
    finally:
        loop.remove_reader(fd)
