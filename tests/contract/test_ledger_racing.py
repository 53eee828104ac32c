"""Two processes' worth of connections on one database."""

import pytest

from bloomweaver.testing.contracts import ledger_racing as contract
from tests.support import databases


class TestSqlite(contract.RacingContract):
    @pytest.fixture
    async def database(self, time, tmp_path):
        async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", time) as opened:
            yield opened

    @pytest.fixture
    async def other(self, database, time, tmp_path):
        async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", time) as opened:
            yield opened
