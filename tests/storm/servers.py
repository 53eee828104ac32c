"""The servers of a storm, each of which can be taken away, made slow, or filled, and given back.

Unlike the servers of `tests.support.servers` these are stopped and started again under their clients, on the same port
and with the same data. Nothing outlives the storm: PostgreSQL stands behind the same guard, the doubles end with their
harness's pipe.
"""

import asyncio
import contextlib
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import psycopg

from tests.support.servers import elasticmq, postgresql, processes

STOP_SECONDS = 60.0
MAX_CONNECTIONS = 100
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "128MB",
    "logging_collector": "off",
}


class Postgresql:
    """A durable server (fsync on) over one data folder."""

    def __init__(self, programs: pathlib.Path, folder: pathlib.Path, *, owner: int | None, password: str) -> None:
        self.port = processes.free_port()
        self.password = password
        self._programs, self._folder, self._owner = programs, folder, owner
        self._running: contextlib.ExitStack | None = None
        self._pid = 0

    def url(self, port: int | None = None) -> str:
        """port: of a proxy before it."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/postgres"

    def start(self) -> None:
        """Until it answers; after a crash that is after its recovery."""
        options = [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
        command = [str(self._programs / "bin" / "postgres"), "-D", str(self._folder / "data"), *options,
                   "-c", f"port={self.port}"]  # fmt: skip
        ready = functools.partial(postgresql._ready, self._programs, self.port)
        self._running = contextlib.ExitStack()
        self._pid = self._running.enter_context(
            processes.started(
                command, name="PostgreSQL", folder=self._folder, ready=ready, owner=self._owner, stop_signal="SIGQUIT"
            )
        )

    def stop(self, number: int) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one: no checkpoint, so that it has to recover."""
        assert self._running is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while _exists(self._pid):  # before the guard hears of the end: it removes the folder of what still runs
            assert time.monotonic() < deadline, "PostgreSQL does not stop"
            time.sleep(0.05)
        self._running.close()
        self._running = None

    def close(self) -> None:
        """For good."""
        if self._running is not None:
            self.stop(signal.SIGQUIT)

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[int]:
        """Every connection that is left is taken; gives how many these were."""
        with contextlib.ExitStack() as stack:
            taken = 0
            with contextlib.suppress(psycopg.OperationalError):
                while taken < MAX_CONNECTIONS:
                    connection = psycopg.connect(self.url(), password=self.password, connect_timeout=5)
                    stack.callback(connection.close)
                    taken += 1
            yield taken


@contextlib.contextmanager
def postgresql_server() -> Iterator[Postgresql]:
    """Started; `processes.Absent` where it cannot be had."""
    if os.environ.get(postgresql.GIVEN):
        raise processes.Absent("PostgreSQL: one that is given cannot be killed")
    owner = processes.account()
    with processes.folder("storm", owner=owner) as folder:
        programs = postgresql._reachable(postgresql._installed(postgresql.MAJOR), folder, owner)
        password = postgresql._initialised(programs, folder, owner=owner).read_text(encoding="utf-8")
        server = Postgresql(programs, folder, owner=owner, password=password)
        server.start()
        try:
            yield server
        finally:
            server.close()


class Proxy:
    """TCP to one port, each piece `delay_seconds` later while that is set."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.delay_seconds = 0.0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, inner_writer), (inner_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if self.delay_seconds:
                        await asyncio.sleep(self.delay_seconds)
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.transport.abort()

    async def end(self) -> None:
        """Cut what is open."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes what was aborted in its next turn


@contextlib.asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """Listening until the context ends."""
    made = Proxy(target)
    server = await asyncio.start_server(made._accepted, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.end()


class Double:
    """A double as a process of its own on a fixed port: killed, it forgets everything."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.port = processes.free_port()
        self._command = [sys.executable, "-m", module, "--port", str(self.port), *arguments]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it answers."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def tell(self, line: str) -> None:
        """What it reads."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """With -9."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class ElasticMQ:
    """A real server of SQS's protocol on a fixed port: killed, it forgets everything."""

    def __init__(self) -> None:
        if os.environ.get(elasticmq.GIVEN):
            raise processes.Absent("ElasticMQ: one that is given cannot be killed")
        self._port = processes.free_port()
        self._running = contextlib.ExitStack()
        self._pid: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Until it answers; `processes.Absent` where it cannot be had."""
        self._pid = self._running.enter_context(elasticmq.running(port=self._port)).pid

    def kill(self) -> None:
        """With -9."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._running.close()
            self._pid = None


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, *, size_bytes: int) -> Iterator[pathlib.Path]:
    """A file system of that size; `processes.Absent` where we may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "bloomweaver-storm", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False) if os.getuid() == 0 else None
    if done is None or done.returncode:
        raise processes.Absent("a small disk: mounting a tmpfs is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(folder: pathlib.Path) -> None:
    """Until nothing more goes onto the disk."""
    with (folder / ".ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))


def unfill(folder: pathlib.Path) -> None:
    """Give the space back."""
    (folder / ".ballast").unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
