"""The four ports of one database, for tests that need them all."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from bloomweaver.adapters.engines.postgresql import engine as postgresql_engine
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.history import postgresql as postgresql_history
from bloomweaver.adapters.history import sqlite as sqlite_history
from bloomweaver.adapters.ledger import postgresql as postgresql_ledger
from bloomweaver.adapters.ledger import postgresql_healing, sqlite_healing
from bloomweaver.adapters.ledger import sqlite as sqlite_ledger
from bloomweaver.adapters.registry import postgresql as postgresql_registry
from bloomweaver.adapters.registry import sqlite as sqlite_registry
from bloomweaver.ports import healing, history, ledger, registry
from bloomweaver.testing import clocks


@dataclass(frozen=True, slots=True)
class Database:
    """engine: the adapter's own, for a test that looks into the tables."""

    ledger: ledger.Ledger
    healing: healing.Healing
    registry: registry.Registry
    history: history.History
    engine: Any


class CountedNonces:
    """Names that a test can foresee."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def nonce(self) -> str:
        return f"nonce{next(self._numbers)}"

    def secret(self, size_bytes: int) -> bytes:
        return next(self._numbers).to_bytes(size_bytes, "big")


def clock() -> clocks.ManualClock:
    return clocks.ManualClock()


@contextlib.asynccontextmanager
async def opened(url: str, time: clocks.ManualClock) -> AsyncIterator[Database]:
    """Whatever database the URL names; a PostgreSQL one has its tables already."""
    if url.startswith("postgresql://"):
        async with postgresql_engine.open_engine(url, clock=time, nonces=CountedNonces()) as connected:
            yield Database(
                postgresql_ledger.PostgresqlLedger(connected),
                postgresql_healing.PostgresqlHealing(connected),
                postgresql_registry.PostgresqlRegistry(connected),
                postgresql_history.PostgresqlHistory(connected),
                connected,
            )
        return
    async with engine.open_engine(url, clock=time, nonces=CountedNonces()) as made:
        yield Database(
            sqlite_ledger.SqliteLedger(made),
            sqlite_healing.SqliteHealing(made),
            sqlite_registry.SqliteRegistry(made),
            sqlite_history.SqliteHistory(made),
            made,
        )
