"""What a `dynamodb://` URL names, opened for `opening`: the ledger and what shares its transactions, nothing else."""

import contextlib
from collections.abc import AsyncIterator

from bloomweaver.adapters.engines.dynamodb import tables
from bloomweaver.adapters.history import dynamodb as histories
from bloomweaver.adapters.ledger import dynamodb as ledgers
from bloomweaver.adapters.ledger import dynamodb_healing as healers
from bloomweaver.adapters.registry import dynamodb as registries
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import healing, history, ledger, registry


@contextlib.asynccontextmanager
async def open_ports(
    url: str, *, clock: clocks.Clock, nonces: clocks.Nonces, migrates: bool
) -> AsyncIterator[tuple[ledger.Ledger, healing.Healing, registry.Registry, history.History]]:
    """The ports of one table. clock: this machine's, which is held to the service's time."""
    async with tables.open_engine(url, clock=None, system=clock, nonces=nonces, migrates=migrates) as opened:
        yield (
            ledgers.DynamodbLedger(opened),
            healers.DynamodbHealing(opened),
            registries.DynamodbRegistry(opened),
            histories.DynamodbHistory(opened),
        )


async def migrate(url: str, *, clock: clocks.Clock, nonces: clocks.Nonces) -> tables.Migrated:
    """Make the table where it is missing; what was done."""
    return await tables.migrated(url, system=clock, nonces=nonces)
