import psycopg
import psycopg_pool
import pytest

from bloomweaver.adapters.engines.postgresql import failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

PLACE = "postgresql://app@h/d"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (psycopg.errors.LockNotAvailable("x"), errors.TransientError, Reason.DATABASE_LOCKED),
        (psycopg.errors.SerializationFailure("x"), errors.TransientError, Reason.DATABASE_LOCKED),
        (psycopg.errors.DiskFull("x"), errors.TransientError, Reason.DISK_FULL),
        (psycopg.errors.ReadOnlySqlTransaction("x"), errors.TransientError, Reason.LEDGER_UNAVAILABLE),
        (psycopg.errors.QueryCanceled("x"), errors.TransientError, Reason.LEDGER_UNAVAILABLE),
        (psycopg.OperationalError("gone"), errors.TransientError, Reason.LEDGER_UNAVAILABLE),
        (psycopg.InterfaceError("closed"), errors.TransientError, Reason.LEDGER_UNAVAILABLE),
        (psycopg_pool.PoolTimeout("busy"), errors.TransientError, Reason.LEDGER_UNAVAILABLE),
        (psycopg.errors.TooManyConnections("x"), errors.TransientError, Reason.LEDGER_UNAVAILABLE),
        (psycopg.errors.UndefinedTable("x"), errors.NotMigratedError, Reason.SCHEMA_TOO_OLD),
        (psycopg.errors.InsufficientPrivilege("x"), errors.ConfigurationError, Reason.INVALID_CONFIGURATION),
        (psycopg.OperationalError('FATAL:  database "d" does not exist'), errors.ConfigurationError,
         Reason.CREDENTIALS_REFUSED),
        (psycopg.OperationalError('FATAL:  password authentication failed for user "app"'), errors.ConfigurationError,
         Reason.CREDENTIALS_REFUSED),
    ],
)  # fmt: skip
def test_what_somebody_can_act_on_is_told_in_our_words(error, kind, reason):
    told = failures.translated(error, place=PLACE)
    assert told is not None
    assert (type(told), told.reason) == (kind, reason)
    assert PLACE in told.detail


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (psycopg.errors.FeatureNotSupported('extension "vector" is not available'), "Install pgvector 0.8"),
        (psycopg.errors.InsufficientPrivilege('permission denied to create extension "vector"'), "Have a superuser"),
        (psycopg.errors.InsufficientPrivilege("permission denied for table document"), "Grant it"),
        (psycopg.errors.UndefinedObject('type "vector" does not exist'), "CREATE EXTENSION vector"),
        (psycopg.errors.UndefinedColumn('column "embedding" does not exist'), "audit --repair"),
    ],
)
def test_what_a_server_lacks_for_vectors_is_told_with_what_to_do(error, advice):
    told = failures.translated(error, place=PLACE)
    assert isinstance(told, errors.ConfigurationError)
    assert advice in told.detail


def test_a_mistake_of_ours_is_not_hidden():
    for error in (
        psycopg.errors.SyntaxError("x"),
        psycopg.errors.UndefinedColumn("x"),
        psycopg.errors.NotNullViolation("x"),
    ):
        assert failures.translated(error, place=PLACE) is None


def test_only_what_others_are_to_blame_for_is_done_again():
    assert failures.is_undone(psycopg.errors.SerializationFailure("x"))
    assert failures.is_undone(psycopg.errors.DeadlockDetected("x"))
    assert not failures.is_undone(psycopg.errors.UniqueViolation("x"))
    assert not failures.is_undone(psycopg.errors.DiskFull("x"))


def test_a_full_pool_is_not_a_lost_connection():
    assert failures.is_lost(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert failures.is_lost(psycopg.errors.AdminShutdown("x"))
    assert not failures.is_lost(psycopg_pool.PoolTimeout("busy"))
    assert not failures.is_lost(psycopg.errors.QueryCanceled("x"))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("certificate verify failed", errors.ConfigurationError),
        ("provider signature failure", errors.ConfigurationError),
        ("unexpected eof while reading", errors.TransientError),
    ],
)
def test_who_is_not_trusted_is_not_waited_for(said, kind):
    told = failures.translated(psycopg.OperationalError(f"connection to server failed: SSL error: {said}"), place=PLACE)
    assert isinstance(told, kind)
