"""Every vector store and every queue that can be had here, opened one at a time as a process opens it.

Servers are those of the tests, started for one measurement and ended with it; PostgreSQL commits durably. Where one
cannot be had, opening raises `processes.Absent` with the reason.
"""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeVar

from benchmarks import report
from bloomweaver.adapters import opening as adapters
from bloomweaver.domain import errors
from bloomweaver.ports import clock as clocks
from tests.support import aws
from tests.support.servers import chroma, elasticmq, opensearch, postgresql, processes

DIMENSION = 384
ACCURATE = ("late=0", "late_seconds=0", "lost_answer=0", "lag_seconds=0")
"""The storm's fake of Pinecone misbehaves until it is told these."""


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Opening(Protocol[T_co]):
    """Opens one port at a URL."""

    def __call__(self, url: str, /, *, clock: clocks.Clock, nonces: clocks.Nonces) -> AbstractAsyncContextManager[T_co]:
        """Until the context ends."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Backend:
    """place: gives the URL, for as long as its context lasts, over a folder that is empty."""

    name: str
    place: Callable[[pathlib.Path], AbstractContextManager[str]]


@contextlib.contextmanager
def in_memory(_: pathlib.Path) -> Iterator[str]:
    """In this process."""
    yield "mem://"


@contextlib.contextmanager
def sqlite_file(folder: pathlib.Path) -> Iterator[str]:
    """A file of its own."""
    yield f"sqlite:///{folder}/store.db"


@contextlib.contextmanager
def postgresql_server(_: pathlib.Path) -> Iterator[str]:
    """With fsync and synchronous commits."""
    with postgresql.running() as server:
        yield with_passfile(server)


@contextlib.contextmanager
def chroma_folder(folder: pathlib.Path) -> Iterator[str]:
    """In this process."""
    yield f"chroma://{folder}/data"


@contextlib.contextmanager
def chroma_server(_: pathlib.Path) -> Iterator[str]:
    with chroma.running() as server:
        yield f"chroma://{urllib.parse.urlsplit(server.url).netloc}?tls=off"


@contextlib.contextmanager
def opensearch_server(_: pathlib.Path) -> Iterator[str]:
    """A write waits for the next refresh, as by default."""
    with opensearch.running() as server:
        yield f"opensearch://{urllib.parse.urlsplit(server.url).netloc}/bench?tls=off&shards=1&replicas=0"


@contextlib.contextmanager
def pinecone_fake(folder: pathlib.Path) -> Iterator[str]:
    """A process of its own that speaks Pinecone's wire; it keeps everything in memory."""
    port = processes.free_port()
    command = [sys.executable, "-m", "tests.storm.pinecone", f"--port={port}", f"--dimension={DIMENSION}"]
    key = folder / "api-key"
    key.write_text("any")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.writelines(f"{line}\n" for line in ACCURATE)
        process.stdin.flush()
        yield f"pinecone://index?controller=http://127.0.0.1:{port}&key_file={key}"
        process.stdin.close()


@contextlib.contextmanager
def elasticmq_server(folder: pathlib.Path) -> Iterator[str]:
    with elasticmq.running() as server:
        yield sqs_url(server.url, folder)


@contextlib.contextmanager
def sqs_double(folder: pathlib.Path) -> Iterator[str]:
    """A process of its own that speaks SQS's wire."""
    command = [sys.executable, "-m", "bloomweaver.testing.sqs_wire"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield sqs_url(process.stdout.readline().strip(), folder)
        process.terminate()


def with_passfile(server: processes.Server) -> str:
    """The URL, with where its password is."""
    file = server.env.get("PGPASSFILE")
    return f"{server.url}?{urllib.parse.urlencode({'passfile': file})}" if file else server.url


def sqs_url(endpoint: str, folder: pathlib.Path) -> str:
    """Queues at an endpoint of this machine."""
    return aws.url("sqs://us-east-1/bench", endpoint=endpoint, credentials_file=aws.credentials_file(folder))


VECTORS = (
    Backend("memory", in_memory),
    Backend("SQLite", sqlite_file),
    Backend("PostgreSQL", postgresql_server),
    Backend("Chroma, embedded", chroma_folder),
    Backend("Chroma, server", chroma_server),
    Backend("OpenSearch", opensearch_server),
    Backend("Pinecone's fake", pinecone_fake),
)
QUEUES = (
    Backend("memory", in_memory),
    Backend("SQLite", sqlite_file),
    Backend("PostgreSQL", postgresql_server),
    Backend("SQS: ElasticMQ", elasticmq_server),
    Backend("SQS: our double", sqs_double),
)


@contextlib.asynccontextmanager
async def opened(backend: Backend, opening: Opening[T]) -> AsyncIterator[T]:
    """A port of the backend, empty. opening: a function of `adapters.opening`, e.g. `open_vectors`."""
    with _placed(backend) as url:
        async with opening(url, clock=adapters.system_clock(), nonces=adapters.system_nonces()) as store:
            yield store


async def rows(found: Sequence[Backend], measure: Callable[[Backend], Awaitable[str]]) -> list[report.Row]:
    """A row for each backend: its figures, or why there are none. Printed as they come."""
    made = []
    for backend in found:
        try:
            made.append(report.Row(backend.name, await measure(backend)))
        except (processes.Absent, errors.TransientError) as error:
            made.append(report.Row(backend.name, "not run", note=str(error)))
        print(f"  {made[-1].measure}: {made[-1].value} {made[-1].note}", flush=True)
    return made


@contextlib.contextmanager
def _placed(backend: Backend) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="bloomweaver-") as folder, backend.place(pathlib.Path(folder)) as url:
        yield url
