"""A DynamoDB table of one's own, and the four ports on it."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bloomweaver.adapters import clock as clocks
from bloomweaver.adapters.engines.aws import addresses
from bloomweaver.adapters.engines.dynamodb import engine, tables
from bloomweaver.adapters.history import dynamodb as histories
from bloomweaver.adapters.ledger import dynamodb as ledgers
from bloomweaver.adapters.ledger import dynamodb_healing as healers
from bloomweaver.adapters.registry import dynamodb as registries
from bloomweaver.testing import clocks as manual_clocks

PATIENCE = 20
"""The double decides one transaction after the other, and shares its cores with the tests."""

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    ledger: ledgers.DynamodbLedger
    healing: healers.DynamodbHealing
    registry: registries.DynamodbRegistry
    history: histories.DynamodbHistory
    engine: engine.Engine


def address(server_url: str) -> str:
    """Of a table that nobody else has; it is made when it is opened."""
    return f"dynamodb://contract-{next(_NUMBERS)}?region=eu-central-1&endpoint={server_url}"


def parsed(table: str) -> addresses.Address:
    """The address of a table, as far as making it needs it."""
    return addresses.parse(f"dynamodb://{table}", shape=tables.SHAPE)


def on(made: engine.Engine) -> Database:
    """The ports on an engine."""
    return Database(
        ledgers.DynamodbLedger(made),
        healers.DynamodbHealing(made),
        registries.DynamodbRegistry(made),
        histories.DynamodbHistory(made),
        made,
    )


def beside(database: Database, table: str) -> engine.Engine:
    """The same client for another table."""
    there = database.engine
    return engine.Engine(there.calls, table, clock=there.clock, nonces=there.nonces, patience=there.patience)


@contextlib.asynccontextmanager
async def opened(url: str, time: manual_clocks.ManualClock, *, migrates: bool = True) -> AsyncIterator[Database]:
    opening = tables.open_engine(
        url,
        clock=time,
        system=clocks.SystemClock(),
        nonces=clocks.SystemNonces(),
        migrates=migrates,
        patience=PATIENCE,
    )
    async with opening as made:
        yield on(made)
