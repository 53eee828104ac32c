"""The writer thread: writes that arrive while a commit is being synced share the next one.

Invariant: a caller hears of success only after the COMMIT that holds its write has returned; a write that raises takes
back its own statements and nobody else's; a commit that fails fails every write in it.
What is submitted in one turn of the event loop is handed over at its end, at once: waking the thread for every write
has it take the interpreter from the loop that is about to submit the next.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bloomweaver.adapters.engines.sqlite import failures

BATCH_WRITES = 256
"""About so many writes share a commit at most: it bounds how long the first of them waits."""


@dataclass(slots=True)
class _Job:
    """items: what `write` is called with beside the connection, where it takes several at once."""

    write: Callable[..., Any]
    future: asyncio.Future[Any]
    outside: bool = False
    items: list[Any] | None = None
    value: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Owns the writing connection from `start` to `stop`. on_commit: called after each, on the writer's thread."""

    def __init__(self, connection: sqlite3.Connection, *, path: str, on_commit: Callable[[], None]) -> None:
        self._connection = connection
        self._path = path
        self._on_commit = on_commit
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._submitted: list[_Job] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Callable[[sqlite3.Connection], Any], *, outside: bool = False) -> asyncio.Future[Any]:
        """The future of a write; its result is there after the commit. outside: of any transaction."""
        return self._submit(_Job(write, self._loop.create_future(), outside))

    def submit_item(
        self, write: Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]], item: Any
    ) -> asyncio.Future[Any]:
        """The same for one item: those of one `write` that share a commit share a call, which gives as many results."""
        return self._submit(_Job(write, self._loop.create_future(), items=[item]))

    async def stop(self) -> None:
        """Writes that were submitted are committed first."""
        self._hand_over()
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _submit(self, job: _Job) -> asyncio.Future[Any]:
        if not self._submitted:
            self._loop.call_soon(self._hand_over)
        self._submitted.append(job)
        return job.future

    def _hand_over(self) -> None:
        if self._submitted:
            jobs, self._submitted = self._submitted, []
            self._jobs.put(jobs)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch: list[_Job] = []
            jobs = self._jobs.get()
            while jobs is not None:
                batch += jobs
                if len(batch) >= BATCH_WRITES or self._jobs.empty():
                    break
                jobs = self._jobs.get()
            stopping = jobs is None
            batch = [job for job in batch if not job.future.cancelled()]
            if batch:
                self._commit([job for job in batch if not job.outside])
                for job in batch:
                    if job.outside:
                        self._perform_outside(job)
                self._loop.call_soon_threadsafe(_resolve, batch)
                self._on_commit()

    def _commit(self, batch: list[_Job]) -> None:
        """Run the batch in one transaction. Whatever goes wrong with it as a whole is every caller's error."""
        if not batch:
            return
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for jobs in _together(batch):
                if len(jobs) == 1 or not self._perform_together(jobs):
                    for job in jobs:
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

    def _perform_together(self, jobs: list[_Job]) -> bool:
        """One call for all; False, and nothing done, where it raises: then each has to be tried by itself."""
        connection = self._connection
        connection.execute("SAVEPOINT one")
        try:
            values = jobs[0].write(connection, [item for job in jobs for item in job.items or ()])
        except BaseException:  # whose it is comes out when each is tried by itself
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO one")
            return False
        finally:
            if connection.in_transaction:
                connection.execute("RELEASE one")
        for job, value in zip(jobs, values, strict=True):
            job.value = value
        return True

    def _perform(self, job: _Job, *, alone: bool) -> None:
        connection = self._connection
        if not alone:
            connection.execute("SAVEPOINT one")
        try:
            job.value = job.write(connection) if job.items is None else job.write(connection, job.items)[0]
        except BaseException as error:  # handed to the caller whole, whatever it is
            if not connection.in_transaction:  # SQLite itself rolled back (full disk, I/O): all of the batch is lost
                raise
            job.error = _told(error, path=self._path)
            connection.execute("ROLLBACK" if alone else "ROLLBACK TO one")
        if not alone:
            connection.execute("RELEASE one")


def _together(batch: list[_Job]) -> list[list[_Job]]:
    """Jobs that one call can do; all else by itself, in the order submitted."""
    found: list[list[_Job]] = []
    shared: dict[Callable[..., Any], list[_Job]] = {}
    for job in batch:
        if job.items is None or job.write not in shared:
            found.append([job])
            if job.items is not None:
                shared[job.write] = found[-1]
        else:
            shared[job.write].append(job)
    return found


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
