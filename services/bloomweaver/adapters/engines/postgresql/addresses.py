"""What a `postgresql://` URL says, and how a connection is set up from it.

Invariants: a URL identifies and holds no password; all tables live in one named schema, so that two deployments can
share a database; every connection has its time-outs, so that nothing waits for ever on either side.
"""

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "bloomweaver"
DEFAULT_POOL = 10
STATEMENT_SECONDS = 60
LOCK_SECONDS = 15
IDLE_TRANSACTION_SECONDS = 60
PREPARED_AFTER = 2
"""Executions of a statement after which the server keeps it parsed."""

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# Only the primary is connected to, also after a failover; a server that falls silent is given up after 30 s.
_DEFAULTS = {
    "application_name": "bloomweaver",
    "connect_timeout": "10",
    "target_session_attrs": "read-write",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
_OURS = frozenset({"schema", "pool"})
_LIBPQ = frozenset(
    {
        "application_name",
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "passfile",
        "require_auth",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
    }
)

Password = Callable[[], str | None]
"""Asked at every new connection, so that a password that was changed is found without a restart."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database, and our place in it. url: for libpq. shown: for messages."""

    url: str
    shown: str
    schema: str
    connections: int

    @property
    def options(self) -> dict[str, object]:
        """What every connection is set up with, beside the URL."""
        settings = {
            "search_path": f"{self.schema},public",
            "statement_timeout": f"{STATEMENT_SECONDS}s",
            "lock_timeout": f"{LOCK_SECONDS}s",
            "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS}s",
            "jit": "off",
            # A plan made while a table was empty would stay when it is large.
            "plan_cache_mode": "force_custom_plan",
            "random_page_cost": "1.1",
            "client_min_messages": "warning",
        }
        return {
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "autocommit": True,
            "prepare_threshold": PREPARED_AFTER,
        }


def parse(url: str) -> Address:
    """The address that a URL names."""
    parts = urllib.parse.urlsplit(url)
    given = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    if parts.scheme not in SCHEMES or not parts.netloc.rpartition("@")[2]:
        raise _wrong("The database address is not complete. Write postgresql://user@host:5432/database.")
    if ":" in parts.netloc.rpartition("@")[0] or any(name == "password" for name, _ in given):
        raise _wrong(
            "The database address holds a password. An address only identifies: take the password out, and give it in"
            " BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE, BLOOMWEAVER_POSTGRESQL_PASSWORD, PGPASSFILE or PGPASSWORD."
        )
    for name, _ in given:
        if name not in _OURS | _LIBPQ:
            known = ", ".join(sorted(_OURS | _LIBPQ))
            raise _wrong(f"The database address has an unknown parameter {name!r}. Known are {known}.")
    ours = {name: value for name, value in given if name in _OURS}
    theirs = [(name, value) for name, value in given if name in _LIBPQ]
    theirs += [(name, value) for name, value in _DEFAULTS.items() if name not in dict(theirs)]
    query = urllib.parse.urlencode(theirs, quote_via=urllib.parse.quote)
    shown = urllib.parse.urlunsplit((SCHEMES[0], parts.netloc, parts.path, "", ""))
    target = urllib.parse.urlunsplit((SCHEMES[0], parts.netloc, parts.path, query, ""))
    return Address(target, shown, _schema(ours.get("schema", DEFAULT_SCHEMA)), _connections(ours.get("pool")))


def _schema(name: str) -> str:
    if not _SCHEMA_NAME.fullmatch(name) or name.startswith("pg_"):
        raise _wrong(f"{name!r} is no schema name for us. Use lower-case letters, digits and _, at most 63.")
    return name


def _connections(text: str | None) -> int:
    if text is None:
        return DEFAULT_POOL
    if not text.isascii() or not text.isdigit() or not 2 <= int(text) <= 200:
        raise _wrong(f"pool={text} is no number of connections. Give 2 to 200.")
    return int(text)


def _wrong(detail: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
