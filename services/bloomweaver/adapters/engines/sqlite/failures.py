"""SQLite's errors in the project's words: what the operator can do something about keeps its own reason.

Errors that only a bug can cause (a constraint, a wrong statement) are left as they are.
"""

import sqlite3

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

LOCK_RETRY_SECONDS = 0.5
FULL_RETRY_SECONDS = 30.0
AWAY_RETRY_SECONDS = 2.0

_PRIMARY = 0xFF  # the low byte of an extended result code
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_AWAY = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }
)


def translated(error: sqlite3.Error, *, path: str) -> errors.TransientError | None:
    """What a caller should see instead, or None where the error is our own fault."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _LOCKED:
        detail = f"Another process holds a lock on {path}."
        return errors.TransientError(Reason.DATABASE_LOCKED, detail, retry_after_seconds=LOCK_RETRY_SECONDS)
    if code == sqlite3.SQLITE_FULL:
        detail = f"The disk that holds {path} is full. Free some space; nothing acknowledged is lost."
        return errors.TransientError(Reason.DISK_FULL, detail, retry_after_seconds=FULL_RETRY_SECONDS)
    if code in _AWAY:
        detail = f"The database {path} cannot be used: {error}."
        return errors.TransientError(Reason.LEDGER_UNAVAILABLE, detail, retry_after_seconds=AWAY_RETRY_SECONDS)
    return None


def at_opening(error: sqlite3.Error, *, path: str) -> errors.BloomWeaverError | None:
    """The same at start, where a file that cannot be opened is a setting to correct."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        detail = f"The database {path} cannot be opened for writing: {error}. Check that its folder exists and is ours."
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    if code == sqlite3.SQLITE_NOTADB:
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, f"The file {path} is not a SQLite database.")
    return translated(error, path=path)
