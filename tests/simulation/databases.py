"""The ledger's database of one history: the real SQLite engine in memory, with all the ports that stand on it."""

from dataclasses import dataclass

from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.history import sqlite as sqlite_history
from bloomweaver.adapters.ledger import sqlite as sqlite_ledger
from bloomweaver.adapters.ledger import sqlite_healing
from bloomweaver.adapters.registry import sqlite as sqlite_registry
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.ports import clock, healing, history, ledger, registry


@dataclass(slots=True)
class Database:
    """The ports of one database, without any fault."""

    engine: engine.MemoryEngine
    ledger: ledger.Ledger
    healing: healing.Healing
    registry: registry.Registry
    history: history.History

    def close(self) -> None:
        """The data are gone."""
        self.engine.close()


def opened(*, clock: clock.Clock, nonces: clock.Nonces) -> Database:
    """An empty database."""
    made = engine.MemoryEngine(clock=clock, nonces=nonces)
    return Database(
        made,
        sqlite_ledger.SqliteLedger(made),
        sqlite_healing.SqliteHealing(made),
        sqlite_registry.SqliteRegistry(made),
        sqlite_history.SqliteHistory(made),
    )


def comes_to(database: Database, key: DocumentKey) -> bool:
    """Whether the reconciler comes to a document by itself: it is due some time, or a scan has yet to pass it."""
    statement = (
        "SELECT 1 FROM document d JOIN collection c USING (cid) WHERE c.uid = ? AND d.doc = ?"
        " AND (d.due_at IS NOT NULL OR (c.backfill_cursor IS NOT NULL AND c.backfill_cursor < d.doc))"
    )
    found = database.engine._connection.execute(statement, (key.collection_uid, key.document_id))
    return found.fetchone() is not None


def words_left(database: Database, words: set[str]) -> set[str]:
    """Where any of these words still stands, in whatever table and column."""
    connection = database.engine._connection
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = set()
    for table in tables:
        for record in connection.execute(f'SELECT * FROM "{table}"'):
            text = " ".join(str(value) for value in record)
            found |= {f"{word} in table {table}" for word in words if word in text}
    return found
