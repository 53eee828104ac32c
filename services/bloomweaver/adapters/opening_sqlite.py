"""What a `sqlite:///` or `mem://` URL names as a database, opened for `opening`: four ports on one engine."""

from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.history import sqlite as histories
from bloomweaver.adapters.ledger import sqlite as ledgers
from bloomweaver.adapters.ledger import sqlite_healing as healers
from bloomweaver.adapters.registry import sqlite as registries
from bloomweaver.ports import healing, history, ledger, registry


def ports_on(opened: engine.SharingEngine) -> tuple[ledger.Ledger, healing.Healing, registry.Registry, history.History]:
    """The ports that share its transactions."""
    return (
        ledgers.SqliteLedger(opened),
        healers.SqliteHealing(opened),
        registries.SqliteRegistry(opened),
        histories.SqliteHistory(opened),
    )
