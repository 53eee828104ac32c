"""A DynamoDB table of one's own, and the four ports on it."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bloomweaver.adapters import clock as clocks
from bloomweaver.adapters.engines.dynamodb import engine
from bloomweaver.adapters.history import dynamodb as histories
from bloomweaver.adapters.ledger import dynamodb as ledgers
from bloomweaver.adapters.ledger import dynamodb_healing as healers
from bloomweaver.adapters.registry import dynamodb as registries
from bloomweaver.testing import clocks as manual_clocks

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


@contextlib.asynccontextmanager
async def opened(url: str, time: manual_clocks.ManualClock) -> AsyncIterator[Database]:
    opening = engine.open_engine(
        url, clock=time, system=clocks.SystemClock(), nonces=clocks.SystemNonces(), migrates=True
    )
    async with opening as made:
        yield Database(
            ledgers.DynamodbLedger(made),
            healers.DynamodbHealing(made),
            registries.DynamodbRegistry(made),
            histories.DynamodbHistory(made),
            made,
        )
