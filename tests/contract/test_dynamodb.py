"""Every promise of the ports that a database carries, kept by DynamoDB. A table per test, on DynamoDB Local."""

from collections.abc import AsyncIterator

import pytest

from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import healing as healing_contract
from bloomweaver.testing.contracts import history as history_contract
from bloomweaver.testing.contracts import ledger as ledger_contract
from bloomweaver.testing.contracts import registry as registry_contract
from tests.support import dynamodb
from tests.support.servers import processes


@pytest.fixture
async def database(dynamodb_server: processes.Server, time: clocks.ManualClock) -> AsyncIterator[dynamodb.Database]:
    async with dynamodb.opened(dynamodb.address(dynamodb_server.url), time) as opened:
        yield opened


class TestRegistry(registry_contract.RegistryContract):
    """Tenants, collections, generations, keys and sources."""


class TestLedger(ledger_contract.LedgerContract):
    """Changes, work, searches."""


class TestHealing(healing_contract.HealingContract):
    """What waits, and what has to go. Events and steps expire by the table's time to live."""

    drops_by_itself = True


class TestHistory(history_contract.HistoryContract):
    """Timelines and dead letters."""
