"""Child processes that are kept running: their lines are told apart, a crashed one is started again, all end together.

Invariants: a child that crashes is started again after a growing pause; one that says that it is set up wrongly (78) is
not, because that would go on for ever; whatever ends the parent ends the children, also kill -9 (they hold the read end
of a pipe that only the parent can write to, and end as at SIGTERM when it closes).
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bloomweaver.domain.errors import ConfigurationError
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime import process

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 30.0
KILL_AFTER_SECONDS: Final = 15.0
MAX_LINE_BYTES: Final = 64 * 1024

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """A child. module: what `python -m` runs. listener: the socket that it answers on, also after a restart."""

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    listener: socket.socket

    @property
    def port(self) -> int:
        """Where it answers."""
        port: int = self.listener.getsockname()[1]
        return port


@dataclass(slots=True)
class Supervisor:
    """Keeps services running until the context that `running` opens ends.

    tell: where a child's line goes, with the child's name. pids: of those that run now, by name.
    """

    services: Sequence[Service]
    tell: Tell
    pids: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    _children: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Future[list[None]]"]:
        """Start all; gives a future that fails when one of them cannot go on."""
        kept_open, lifeline = os.pipe()
        tasks = [asyncio.create_task(self._keep(each, kept_open), name=each.name) for each in self.services]
        failed = asyncio.gather(*tasks)
        try:
            yield failed
        finally:
            self._ending.set()
            for child in self._children.values():
                _signal(child, signal.SIGTERM)
            await asyncio.wait(tasks, timeout=KILL_AFTER_SECONDS)
            for child in self._children.values():
                _signal(child, signal.SIGKILL)
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(ConfigurationError, asyncio.CancelledError):
                await failed
            os.close(lifeline)
            os.close(kept_open)

    async def _keep(self, service: Service, kept_open: int) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while not self._ending.is_set():
            began = loop.time()
            code = await self._run(service, kept_open)
            if self._ending.is_set():
                return
            if code == process.CONFIGURATION:
                detail = f"The process {service.name} is set up wrongly; its last line says how."
                raise ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
            pause = FIRST_PAUSE_SECONDS if loop.time() - began > STEADY_SECONDS else pause
            self.restarts[service.name] = self.restarts.get(service.name, 0) + 1
            self.tell(service.name, f"ended with {code}; is started again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run(self, service: Service, kept_open: int) -> int:
        """Start it once, and tell its lines until it has ended."""
        descriptor = service.listener.fileno()
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            service.module,
            *service.arguments,
            f"--listener-fd={descriptor}",
            f"--lifeline-fd={kept_open}",
            env=dict(service.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(descriptor, kept_open),
            start_new_session=True,  # so that Ctrl-C reaches the parent alone, which ends them in order
        )
        self._children[service.name], self.pids[service.name] = child, child.pid
        if self._ending.is_set():
            _signal(child, signal.SIGTERM)
        assert child.stdout is not None
        await self._tell_lines(service.name, child.stdout)
        code = await child.wait()
        del self.pids[service.name]
        return code

    async def _tell_lines(self, name: str, stream: asyncio.StreamReader) -> None:
        rest = b""
        while piece := await stream.read(MAX_LINE_BYTES):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self.tell(name, line.decode("utf-8", "replace"))
        if rest:
            self.tell(name, rest.decode("utf-8", "replace"))


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if child.returncode is None:
            child.send_signal(number)
