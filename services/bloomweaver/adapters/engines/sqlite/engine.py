"""One SQLite database behind several ports: `write` and `read` take a function of a connection.

`sqlite:///path` writes on one thread with group commit and reads on a few connections beside it. `mem://` is the same
schema in a private database that runs inline: nothing is suspended, so it is deterministic.

Invariants: when `write` returns, its effects are durable; a `read` sees every write that returned before it began, and
one moment only. The function must touch nothing but the connection: it runs on another thread, and not again.
"""

import asyncio
import concurrent.futures
import contextlib
import queue
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

from bloomweaver.adapters.engines.sqlite import checkpoints, connections, failures, group_commit, migrations
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks

MEMORY_URL = "mem://"
FILE_URL = "sqlite:///"
READERS = 4

T = TypeVar("T")
Item = TypeVar("Item")
Work = Callable[[sqlite3.Connection], T]
WorkOnItems = Callable[[sqlite3.Connection, Sequence[Item]], Sequence[T]]


class Engine(Protocol):
    """What the adapters on SQLite build on. `nonces` and `clock` are here for them."""

    clock: clocks.Clock
    nonces: clocks.Nonces

    async def write(self, work: Work[T]) -> T:
        """Run it in a transaction, durable when this returns; its exception undoes it and is raised here."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Run it on a connection that sees one moment."""
        ...

    async def compact(self) -> bool:
        """Overwrite what the write-ahead log still holds of deleted rows; False where readers are in the way now."""
        ...


class SharingEngine(Engine, Protocol):
    """What the ledger builds on."""

    async def write_item(self, work: WorkOnItems[Item, T], item: Item) -> T:
        """`write` for one item: callers with the same function that share a commit share a call of it."""
        ...


class MemoryEngine:
    """`mem://`: everything inline."""

    def __init__(self, *, clock: clocks.Clock, nonces: clocks.Nonces) -> None:
        self.clock = clock
        self.nonces = nonces
        self._connection = connections.memory()
        self._connection.deserialize(migrations.fresh())

    async def write(self, work: Work[T]) -> T:
        """See Engine."""
        connection = self._connection
        connection.execute("BEGIN")
        try:
            value = work(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return value

    async def write_item(self, work: WorkOnItems[Item, T], item: Item) -> T:
        """See Engine."""
        return await self.write(lambda connection: work(connection, [item])[0])

    async def read(self, work: Work[T]) -> T:
        """See Engine."""
        return work(self._connection)

    async def compact(self) -> bool:
        """See Engine. Nothing of it is on a disk."""
        return True

    def close(self) -> None:
        """The data are gone."""
        self._connection.close()


class FileEngine:
    """`sqlite:///path`. Other processes may use the same file; they wait for each other's short transactions."""

    def __init__(self, path: str, *, clock: clocks.Clock, nonces: clocks.Nonces) -> None:
        self.clock = clock
        self.nonces = nonces
        self._path = path
        self._writer = _opened(path, now=clock.now())
        self._checkpoints = checkpoints.Checkpoints(path, changed_rows=lambda: self._writer.total_changes)
        self._commits = group_commit.GroupCommit(self._writer, path=path, on_commit=self._checkpoints.noted)
        self._threads = concurrent.futures.ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._opened: list[sqlite3.Connection] = []

    async def write(self, work: Work[T]) -> T:
        """See Engine."""
        value: T = await self._commits.submit(work)
        return value

    async def write_item(self, work: WorkOnItems[Item, T], item: Item) -> T:
        """See Engine."""
        value: T = await self._commits.submit_item(work, item)
        return value

    async def read(self, work: Work[T]) -> T:
        """See Engine."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    async def compact(self) -> bool:
        """See Engine. Most of the log is copied beside the commits first: they wait for the rest alone."""
        await asyncio.get_running_loop().run_in_executor(self._threads, connections.copy_log, self._path)
        done: bool = await self._commits.submit(connections.truncate_log, outside=True)
        return done

    async def close(self) -> None:
        """Finish what was begun, then let the file go."""
        await self._commits.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._checkpoints.stop)
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        for connection in self._opened:
            connection.close()
        self._writer.close()

    def _read(self, work: Work[T]) -> T:
        try:
            connection = self._reader()
            try:
                connection.execute("BEGIN")
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
                self._readers.put(connection)
        except sqlite3.Error as error:
            told = failures.translated(error, path=self._path)
            if told is None:
                raise
            raise told from error

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.get_nowait()
        except queue.Empty:
            connection = connections.reader(self._path)
            self._opened.append(connection)
            return connection


@contextlib.asynccontextmanager
async def open_engine(url: str, *, clock: clocks.Clock, nonces: clocks.Nonces) -> AsyncIterator[SharingEngine]:
    """The engine of `mem://` or `sqlite:///path`, migrated."""
    if url.startswith(MEMORY_URL):
        memory = MemoryEngine(clock=clock, nonces=nonces)
        try:
            yield memory
        finally:
            memory.close()
        return
    if not url.startswith(FILE_URL) or url == FILE_URL:
        detail = f"{url!r} is no SQLite address. Write sqlite:///file.db, or sqlite:////folder/file.db from the root."
        raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    engine = FileEngine(url.removeprefix(FILE_URL), clock=clock, nonces=nonces)
    try:
        yield engine
    finally:
        await engine.close()


def _opened(path: str, *, now: float) -> sqlite3.Connection:
    try:
        connection = connections.writer(path)
        try:
            migrations.migrate(connection, now=now, path=path)
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        told = failures.at_opening(error, path=path)
        if told is None:
            raise
        raise told from error
