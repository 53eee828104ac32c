"""The server profile: services as processes of their own over a real PostgreSQL, all of it on this machine.

PostgreSQL is started as it comes, with fsync and synchronous commits, over a fresh folder; everything ends with the
context. `processes.Absent` where there is no PostgreSQL with pgvector.
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator

import psycopg

from benchmarks import backends, measuring, serving, wire
from bloomweaver.adapters import opening
from bloomweaver.domain import credentials, identity
from bloomweaver.ports import registry
from tests.support.servers import postgresql

SECRET = "5e" * 32
START_SECONDS = 120.0
TENANT = identity.TenantId("default")


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """A process that answers."""

    name: str
    port: int
    pid: int


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """PostgreSQL with our tables. pid: of its postmaster; None where the server was given. key: may do everything.

    lifeline: a pipe that closes with this process, whatever ends it, and its services end then too.
    """

    url: str
    pid: int | None
    folder: pathlib.Path
    key: str
    lifeline: int

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[opening.Store]:
        """Every port, in this process."""
        clock, nonces = opening.system_clock(), opening.system_nonces()
        async with opening.open_store(opening.profile(self.url), clock=clock, nonces=nonces) as store:
            yield store

    def connected(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of its own, for who asks often; to be used as a context."""
        return psycopg.connect(self.url, autocommit=True)

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """What one statement gives, beside the services."""
        with self.connected() as connection:
            return connection.execute(statement.encode()).fetchall()

    def count(self, statement: str) -> int:
        """A number from the database."""
        ((number,),) = self.ask(statement)
        assert isinstance(number, int)
        return number

    def versions(self) -> str:
        """Of PostgreSQL and pgvector."""
        ((server, pgvector),) = self.ask(
            "SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'"
        )
        return f"PostgreSQL {server}, pgvector {pgvector}"

    def processor_seconds(self) -> float:
        """What all processes of PostgreSQL that still live have used."""
        return 0.0 if self.pid is None else sum(map(measuring.processor_seconds, measuring.family(self.pid)))

    @contextlib.asynccontextmanager
    async def service(self, name: str, *arguments: str) -> AsyncIterator[Service]:
        """`python -m bloomweaver.NAME`, from when it is ready to the end of the context."""
        port = serving.free_port()
        options = [f"--port={port}", f"--lifeline-fd={self.lifeline}", *arguments]
        process = self._started([f"bloomweaver.{name}", *options], self._environment(name))
        try:
            if not await _is_ready(port, process):
                told = (self.folder / "log").read_text(encoding="utf-8")[-2000:]
                raise RuntimeError(f"{name} ended with status {process.returncode}: {told}")
            yield Service(name, port, process.pid)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)

    def _started(self, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], pass_fds=(self.lifeline,), env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _environment(self, name: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("BLOOMWEAVER_", "OTEL_"))}
        kept |= {
            "BLOOMWEAVER_STORE": self.url,
            "BLOOMWEAVER_LOG_FORM": "json",
        }
        if name in ("webhook", "embedder", "search"):
            kept["BLOOMWEAVER_MODELS"] = str(self.folder / "models")
        if name == "webhook":
            kept["BLOOMWEAVER_SECRET_FILE"] = str(self.folder / "secret")
        return kept


@contextlib.asynccontextmanager
async def placed() -> AsyncIterator[Place]:
    """A PostgreSQL with our tables and a key, until the context ends."""
    with (
        postgresql.running() as server,
        tempfile.TemporaryDirectory(prefix="bloomweaver-") as name,
        _lifeline() as lifeline,
    ):
        key = credentials.new_key(opening.system_nonces().secret)
        place = Place(backends.with_passfile(server), server.pid, pathlib.Path(name), key.secret, lifeline)
        (place.folder / "secret").write_text(SECRET)
        async with place.opened() as store:
            verbs = frozenset(verb.value for verb in credentials.Verb)
            await store.database.registry.add_key(
                registry.StoredKey(key.id, TENANT, "bench", key.hash, verbs=verbs, collections=("*",), created_at=0.0)
            )
        yield place


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """The read end."""
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


async def _is_ready(port: int, process: "subprocess.Popen[bytes]") -> bool:
    async with asyncio.timeout(START_SECONDS):
        while process.poll() is None:
            with contextlib.suppress(OSError):
                async with wire.connected(serving.HOST, port) as connection:
                    if (await connection.ask(wire.request("GET", "/readyz"))).status == 200:
                        return True
            await asyncio.sleep(0.05)
    return False
