"""The schema, as numbered scripts that only go forward: one folder per component, because a deployment may keep only
its ledger here, or only its vectors.

Invariants: a script runs once, in one transaction with its line in `schema_migration`, under a lock that all replicas
share; so a migration that was interrupted or raced is simply run again. A service that does not migrate never begins on
another version than its own.
"""

import functools
import re
from dataclasses import dataclass
from importlib import resources

import psycopg

from bloomweaver.adapters.engines.postgresql import failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

COMPONENTS = ("ledger", "queues", "blobs", "vectors")

_SCRIPT = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('bloomweaver migrations ' || %s, 0))"
_VERSIONS = (
    "CREATE TABLE IF NOT EXISTS schema_migration (component text NOT NULL, version integer NOT NULL,"
    " script text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (component, version))"
)
_FOUND = "SELECT coalesce(max(version), 0) FROM schema_migration WHERE component = %s"
_KNOWN = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_migration'"
_EXTENSION = "SELECT 1 FROM pg_extension WHERE extname = 'vector'"

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did to one component. found: the version before."""

    component: str
    found: int
    version: int
    scripts: tuple[str, ...]


@functools.cache
def scripts(component: str) -> tuple[str, ...]:
    """The component's scripts in order: position is version, 1 is the first. Never edit one that was released."""
    folder = resources.files("bloomweaver.adapters.engines.postgresql") / "schema" / component
    names = sorted(entry.name for entry in folder.iterdir() if _SCRIPT.fullmatch(entry.name))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1)), names
    return tuple(names)


async def apply(connection: Connection, component: str, *, schema: str, place: str) -> Migrated:
    """Bring the component to this release's version; the same again does nothing."""
    wanted = scripts(component)
    if await version(connection, component, schema=schema) == len(wanted):
        return Migrated(component, len(wanted), len(wanted), ())
    first, ran = len(wanted), []
    for number, name in enumerate(wanted, 1):
        async with connection.transaction():
            found = await _locked(connection, component, schema=schema)
            _refuse_newer(found, len(wanted), component, place=place)
            first = min(first, found)
            if found < number:
                text = resources.files("bloomweaver.adapters.engines.postgresql") / "schema" / component / name
                await connection.execute(text.read_bytes())
                await connection.execute(
                    "INSERT INTO schema_migration (component, version, script) VALUES (%s, %s, %s)",
                    (component, number, name),
                )
                ran.append(name)
    return Migrated(component, first, len(wanted), tuple(ran))


async def _locked(connection: Connection, component: str, *, schema: str) -> int:
    """The version found under the lock that lets one migration run at a time."""
    await connection.execute("SET LOCAL lock_timeout = 0")  # another replica's migration may take its time
    await connection.execute("SET LOCAL statement_timeout = 0")
    await connection.execute(_LOCK, (schema,))
    known = await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
    if await known.fetchone() is None:  # IF NOT EXISTS would ask for the right to make schemas even where it is there
        await connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
    await connection.execute(_VERSIONS)
    record = await (await connection.execute(_FOUND, (component,))).fetchone()
    return _number(record)


async def check(connection: Connection, component: str, *, schema: str, place: str) -> None:
    """That the component has this release's version, for a service that does not migrate."""
    wanted, found = len(scripts(component)), await version(connection, component, schema=schema)
    _refuse_newer(found, wanted, component, place=place)
    if found < wanted:
        have = f"schema {found} of {component}" if found else f"no schema of {component}"
        detail = f"The database {place} has {have}, this release needs {wanted}. Run bloomweaver migrate."
        raise errors.NotMigratedError(detail)
    if component == "vectors" and await (await connection.execute(_EXTENSION)).fetchone() is None:
        raise failures.without_vectors(place)


async def version(connection: Connection, component: str, *, schema: str) -> int:
    """How many scripts were run; 0 for an empty database."""
    known = await connection.execute(_KNOWN, (schema,))
    if await known.fetchone() is None:
        return 0
    return _number(await (await connection.execute(_FOUND, (component,))).fetchone())


def _number(record: tuple[object, ...] | None) -> int:
    assert record is not None
    assert isinstance(record[0], int)
    return record[0]


def _refuse_newer(found: int, wanted: int, component: str, *, place: str) -> None:
    if found > wanted:
        detail = (
            f"The database {place} has schema {found} of {component}, which is newer than this release ({wanted})."
            " Run the newer release, or restore a backup."
        )
        raise errors.ConfigurationError(Reason.SCHEMA_TOO_NEW, detail)
