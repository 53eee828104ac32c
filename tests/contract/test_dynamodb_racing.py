"""Two processes' worth of clients on one DynamoDB table."""

from collections.abc import AsyncIterator

import pytest

from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import ledger_racing as contract
from tests.support import dynamodb
from tests.support.servers import processes


class TestDynamodb(contract.RacingContract):
    @pytest.fixture
    def url(self, dynamodb_server: processes.Server) -> str:
        return dynamodb.address(dynamodb_server.url)

    @pytest.fixture
    async def database(self, url: str, time: clocks.ManualClock) -> AsyncIterator[dynamodb.Database]:
        async with dynamodb.opened(url, time) as opened:
            yield opened

    @pytest.fixture
    async def other(
        self, database: dynamodb.Database, url: str, time: clocks.ManualClock
    ) -> AsyncIterator[dynamodb.Database]:
        async with dynamodb.opened(url, time) as opened:
            yield opened
