"""The four ports of one database, for tests that need them all."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.history import sqlite as sqlite_history
from bloomweaver.adapters.ledger import sqlite as sqlite_ledger
from bloomweaver.adapters.ledger import sqlite_healing
from bloomweaver.adapters.registry import sqlite as sqlite_registry
from bloomweaver.testing import clocks


@dataclass(frozen=True, slots=True)
class Database:
    ledger: sqlite_ledger.SqliteLedger
    healing: sqlite_healing.SqliteHealing
    registry: sqlite_registry.SqliteRegistry
    history: sqlite_history.SqliteHistory
    engine: engine.Engine


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
    async with engine.open_engine(url, clock=time, nonces=CountedNonces()) as made:
        yield Database(
            sqlite_ledger.SqliteLedger(made),
            sqlite_healing.SqliteHealing(made),
            sqlite_registry.SqliteRegistry(made),
            sqlite_history.SqliteHistory(made),
            made,
        )
