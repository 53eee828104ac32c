"""Connections to one SQLite file, and how they are set up.

Invariant: what a commit returned for survives power loss (WAL with synchronous=FULL), and deleted text is overwritten
(secure_delete). Transactions are begun by us: the driver's own are off (isolation_level=None).
"""

import contextlib
import sqlite3

BUSY_SECONDS = 5.0
WRITER_CACHE_KIB = 64 * 1024
READER_CACHE_KIB = 16 * 1024
MAP_BYTES = 256 * 1024 * 1024
CHECKPOINT_PAGES = 8000  # 32 MB of WAL; most of it is in the file by then (`checkpoints`)
WAL_KEPT_BYTES = 64 * 1024 * 1024
STATEMENTS_KEPT = 512
TRUNCATE_WAIT_MILLISECONDS = 100


def memory() -> sqlite3.Connection:
    """A private database that ends with its connection."""
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=STATEMENTS_KEPT)
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def writer(path: str) -> sqlite3.Connection:
    """The one connection of this process that writes."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={WAL_KEPT_BYTES}")
        connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
        connection.execute(f"PRAGMA mmap_size={MAP_BYTES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def reader(path: str) -> sqlite3.Connection:
    """One of a few that read beside the writer."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA cache_size=-{READER_CACHE_KIB}")
        connection.execute(f"PRAGMA mmap_size={MAP_BYTES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def checkpointer(path: str) -> sqlite3.Connection:
    """One that does nothing but bring the log into the file."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def copy_log(path: str) -> None:
    """Bring what is there of the log into the file, holding nobody up; as far as it goes."""
    with contextlib.closing(checkpointer(path)) as connection, contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Bring all of the log into the file and empty it; False where a reader holds it up, who is not waited for long."""
    connection.execute(f"PRAGMA busy_timeout={TRUNCATE_WAIT_MILLISECONDS}")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    return not busy


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_KEPT,
    )
