"""PostgreSQL's errors in the project's words: what the operator can do something about keeps its own reason.

Errors that only a bug can cause (a constraint, a wrong statement) are left as they are. No message holds a password:
an address never does, and the server never repeats one.
"""

import psycopg
import psycopg_pool

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

LOCK_RETRY_SECONDS = 0.5
FULL_RETRY_SECONDS = 30.0
AWAY_RETRY_SECONDS = 2.0

_UNDONE = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_UNDEFINED = (psycopg.errors.UndefinedObject, psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedColumn)
_MADE_BY_BOTH = frozenset({"document_id", "event_identity"})
"""Unique indexes that two replicas can meet in; whoever comes second finds the row in its next try."""
_MIGRATE = "Run bloomweaver migrate."
_REFUSED = (
    # By the server's own words, for a connection that is refused comes without a code.
    ("password authentication failed", "Check the user in the address, and the password that the file or variable has"),
    ("no password supplied", "Give the password in BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE, or see PGPASSFILE"),
    ("no pg_hba.conf entry", "The server admits no such connection: check user, database and sslmode"),
    ('role "', "Make the role, or correct the user in the address"),
    ('database "', "Make the database, or correct its name in the address"),
)
_UNTRUSTED = (
    ("failed: SSL error: unexpected eof", ""),  # it broke off, which passes
    ("failed: SSL error:", "Name its authority in sslrootcert, or give it a certificate that is valid"),
    ("does not match host name", "Use the name that its certificate is for"),
    ("root certificate file", "Name the file with its authority in sslrootcert"),
    ("does not support SSL", "Switch TLS on at the server, or correct sslmode"),
)


class NoAnswer(psycopg.OperationalError):
    """Neither the answer came nor an end of the connection. Not tried again: the next try would wait as long."""


def is_undone(error: psycopg.Error) -> bool:
    """Whether the server rolled it back only because of others, so that it can simply be done again."""
    if isinstance(error, psycopg.errors.UniqueViolation):
        return error.diag.constraint_name in _MADE_BY_BOTH
    return isinstance(error, _UNDONE)


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone."""
    if isinstance(error, psycopg_pool.PoolTimeout | NoAnswer):
        return False
    return isinstance(error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown) or (
        isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    )


def translated(error: psycopg.Error, *, place: str) -> errors.BloomWeaverError | None:
    """What a caller should see instead, or None where the error is our own fault."""
    if isinstance(error, psycopg.errors.LockNotAvailable) or is_undone(error):
        detail = f"Other transactions hold locks in {place}."
        return errors.TransientError(Reason.DATABASE_LOCKED, detail, retry_after_seconds=LOCK_RETRY_SECONDS)
    if isinstance(error, psycopg.errors.DiskFull):
        detail = f"The disk of the database {place} is full. Free some space; nothing acknowledged is lost."
        return errors.TransientError(Reason.DISK_FULL, detail, retry_after_seconds=FULL_RETRY_SECONDS)
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        return errors.NotMigratedError(f"The database {place} lacks our tables: {_first_line(error)}. {_MIGRATE}")
    if isinstance(error, _UNDEFINED) and any(name in _first_line(error) for name in ("vector", "embedding")):
        return without_vectors(place)
    if isinstance(error, psycopg.errors.FeatureNotSupported | psycopg.errors.UndefinedFile):
        advice = "Install pgvector 0.8 or later on the server, or name another store in BLOOMWEAVER_VECTORS"
        return _wrong(f"The database {place} cannot hold vectors: {_first_line(error)}. {advice}.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and "extension" in _first_line(error):
        advice = "Have a superuser run CREATE EXTENSION vector in that database"
        return _wrong(f"The database {place} does not let us: {_first_line(error)}. {advice}.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return _wrong(f"The database {place} does not let us: {_first_line(error)}. Grant it to the user.")
    if isinstance(error, psycopg.errors.InvalidCatalogName | psycopg.errors.InvalidAuthorizationSpecification):
        return _credentials(f"The database {place} refuses us: {_first_line(error)}.")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction | psycopg.OperationalError | psycopg.InterfaceError):
        return _away(error, place=place)
    return None


def without_vectors(place: str) -> errors.ConfigurationError:
    """pgvector was dropped behind us, and the vectors with it. They are written again from the builds."""
    return _wrong(
        f"The database {place} has no extension vector any more. Run CREATE EXTENSION vector in it, drop its tables"
        " vectors_*, empty vector_namespace, start again, and run bloomweaver audit --repair."
    )


def _away(error: psycopg.Error, *, place: str) -> errors.BloomWeaverError:
    said = _first_line(error)
    for words, advice in _REFUSED:
        if words in said and error.sqlstate is None:
            return _credentials(f"The database {place} refuses us: {said}. {advice}.")
    if untrusted := next((advice for words, advice in _UNTRUSTED if words in said), ""):
        return _wrong(f"The database {place} cannot be trusted: {said}. {untrusted}.")
    detail = f"The database {place} cannot be used: {said}."
    return errors.TransientError(Reason.LEDGER_UNAVAILABLE, detail, retry_after_seconds=AWAY_RETRY_SECONDS)


def _credentials(detail: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)


def _wrong(detail: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)


def _first_line(error: psycopg.Error) -> str:
    """The server's sentence without the statement; of several addresses tried, the last one's."""
    if error.diag.message_primary:
        return error.diag.message_primary
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return (told or lines[:1] or [type(error).__name__])[-1].rstrip(".")
