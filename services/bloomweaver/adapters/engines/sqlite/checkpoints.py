"""A thread that brings the write-ahead log into the file beside the commits, so that no commit waits for it.

It copies what is there without holding anybody up. Under steady writing there are always a few pages more by the time
it is through, and the log could never begin anew: the writer's own checkpoint (`connections.CHECKPOINT_PAGES`) does
these, and has little left to do. Losing this thread costs time, never data.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable

from bloomweaver.adapters.engines.sqlite import connections

CHANGED_ROWS = 5000
"""About 8 MB of log: each checkpoint syncs the file, so fewer are cheaper."""


class Checkpoints:
    """See the module's docstring. `noted` is for the writer's thread alone."""

    def __init__(self, path: str, *, changed_rows: Callable[[], int]) -> None:
        self._path = path
        self._changed_rows = changed_rows
        self._seen = changed_rows()
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sqlite-checkpoints", daemon=True)
        self._thread.start()

    def noted(self) -> None:
        """There was a commit."""
        changed = self._changed_rows()
        if changed - self._seen >= CHANGED_ROWS:
            self._seen = changed
            self._wanted.set()

    def stop(self) -> None:
        """Ends the thread; what it is doing is finished first."""
        self._stopping = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(connections.checkpointer(self._path)) as connection:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                if self._stopping:
                    return
                # A full disk or another process's checkpoint: the writer's own comes anyway.
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
