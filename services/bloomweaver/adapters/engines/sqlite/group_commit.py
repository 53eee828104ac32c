"""The writer thread: writes that arrive while a commit is being synced share the next one.

Invariant: a caller hears of success only after the COMMIT that holds its write has returned; a write that raises takes
back its own statements and nobody else's; a commit that fails fails every write in it.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bloomweaver.adapters.engines.sqlite import failures

BATCH_WRITES = 256
"""At most so many writes share a commit: it bounds how long the first of them waits."""


@dataclass(slots=True)
class _Job:
    write: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    outside: bool = False
    value: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Owns the writing connection from `start` to `stop`."""

    def __init__(self, connection: sqlite3.Connection, *, path: str) -> None:
        self._connection = connection
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Callable[[sqlite3.Connection], Any], *, outside: bool = False) -> asyncio.Future[Any]:
        """The future of a write; its result is there after the commit. outside: of any transaction."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(write, future, outside))
        return future

    async def stop(self) -> None:
        """Writes that were submitted are committed first."""
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == BATCH_WRITES or self._jobs.empty():
                    break
                job = self._jobs.get()
            stopping = job is None
            batch = [job for job in batch if not job.future.cancelled()]
            if batch:
                self._commit([job for job in batch if not job.outside])
                for job in batch:
                    if job.outside:
                        self._perform_outside(job)
                self._loop.call_soon_threadsafe(_resolve, batch)

    def _commit(self, batch: list[_Job]) -> None:
        """Run the batch in one transaction. Whatever goes wrong with it as a whole is every caller's error."""
        if not batch:
            return
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                self._perform(job, alone=len(batch) == 1)
            if connection.in_transaction:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            cause = failures.translated(error, path=self._path) or error
            for job in batch:
                job.error = cause

    def _perform_outside(self, job: _Job) -> None:
        try:
            job.value = job.write(self._connection)
        except sqlite3.Error as error:
            job.error = _told(error, path=self._path)

    def _perform(self, job: _Job, *, alone: bool) -> None:
        connection = self._connection
        if not alone:
            connection.execute("SAVEPOINT one")
        try:
            job.value = job.write(connection)
        except BaseException as error:  # handed to the caller whole, whatever it is
            if not connection.in_transaction:  # SQLite itself rolled back (full disk, I/O): all of the batch is lost
                raise
            job.error = _told(error, path=self._path)
            connection.execute("ROLLBACK" if alone else "ROLLBACK TO one")
        if not alone:
            connection.execute("RELEASE one")


def _told(error: BaseException, *, path: str) -> BaseException:
    translated = failures.translated(error, path=path) if isinstance(error, sqlite3.Error) else None
    return translated or error


def _resolve(batch: list[_Job]) -> None:
    for job in batch:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.value)
