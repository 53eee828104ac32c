"""The all-in-one server as a process of its own, on a fresh data folder and a free port of loopback."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import socket
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator

from benchmarks import measuring, wire

HOST = "127.0.0.1"
START_SECONDS = 60.0
COMMAND = (str(pathlib.Path(sys.executable).with_name("bloomweaver")),)


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    port: int
    key: str
    folder: pathlib.Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What a command of ours needs to find it."""
        return {**os.environ, "BLOOMWEAVER_URL": f"http://{HOST}:{self.port}", "BLOOMWEAVER_API_KEY": self.key}

    def count(self, statement: str) -> int:
        """A number straight from the ledger's file, beside the server."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/ledger.db?mode=ro", uri=True)) as connection:
            return int(connection.execute(statement).fetchone()[0])

    def proportional_set_megabytes(self) -> int:
        """Memory of the process and its children, shared pages counted by share."""
        return round(sum(map(measuring.proportional_megabytes, measuring.family(self.pid))))


@contextlib.asynccontextmanager
async def running(*, workers: bool = True, folder: pathlib.Path | None = None) -> AsyncIterator[Server]:
    """Started with `bloomweaver dev`; stopped at the end. folder: an existing one, which is kept."""
    with contextlib.ExitStack() as stack:
        place = folder or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bloomweaver-")))
        port = free_port()
        command = [*COMMAND, "dev", "--port", str(port), "--data", str(place)]
        environment = {**os.environ, "BLOOMWEAVER_WORKERS": str(workers).lower()}
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        try:
            await _ready(port, process)
            yield Server(port, (place / "key").read_text().strip(), place, process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


async def listening(port: int) -> None:
    """Until somebody does."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                async with wire.connected(HOST, port):
                    return
            await asyncio.sleep(0.05)


async def _ready(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            with contextlib.suppress(OSError, ConnectionError):
                async with wire.connected(HOST, port) as connection:
                    answer = await connection.ask(wire.request("GET", "/readyz"))
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise RuntimeError(f"the server ended with status {process.returncode}")
