"""The schema, as numbered scripts that only go forward; whoever keeps tables in the file adds a script to the list.

Each script runs in one transaction with its line in `schema_migration`, so a migration that was interrupted, or raced
by another process, is simply run again. A file made by a newer release is refused before anything is read from it.
"""

import functools
import sqlite3
from collections.abc import Iterator
from importlib import resources

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

# Position is version: 1 is the first. Never reorder, never edit a script that was released.
SCRIPTS = ("0001_ledger.sql", "0002_stores.sql")

_VERSIONS = (
    "CREATE TABLE IF NOT EXISTS schema_migration (version INTEGER PRIMARY KEY, script TEXT NOT NULL, at REAL NOT NULL)"
)


@functools.cache
def script(name: str) -> str:
    """The text of one script."""
    return (resources.files("bloomweaver.adapters.engines.sqlite") / "schema" / name).read_text(encoding="utf-8")


def migrate(connection: sqlite3.Connection, *, now: float, path: str) -> None:
    """Bring the database to this release's version."""
    if version(connection) == len(SCRIPTS):
        return
    for number, name in enumerate(SCRIPTS, 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _step(connection, number, name=name, now=now, path=path)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _step(connection: sqlite3.Connection, number: int, *, name: str, now: float, path: str) -> None:
    connection.execute(_VERSIONS)
    found = version(connection)
    if found > len(SCRIPTS):
        detail = f"The database {path} was made by a newer release. Run that release, or restore a backup."
        raise errors.ConfigurationError(Reason.SCHEMA_TOO_NEW, detail)
    if found < number:
        for statement in statements(script(name)):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_migration VALUES (?, ?, ?)", (number, name, now))


@functools.cache
def fresh() -> bytes:
    """An empty migrated database, serialised: `mem://` starts from a copy, which is faster than making one."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, now=0.0, path="mem://")
        return connection.serialize()
    finally:
        connection.close()


def version(connection: sqlite3.Connection) -> int:
    """How many scripts were run; 0 for an empty file."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migration'")
    if known.fetchone() is None:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migration").fetchone()
    return int(row[0])


def statements(text: str) -> Iterator[str]:
    """A script's statements. `executescript` is no use here: it commits what was begun."""
    buffer = ""
    for line in text.splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            yield buffer
            buffer = ""
    if buffer.strip() and not all(line.strip().startswith("--") for line in buffer.splitlines() if line.strip()):
        yield buffer
