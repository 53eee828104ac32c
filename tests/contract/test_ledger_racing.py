"""Two processes' worth of connections on one database."""

import pytest

from bloomweaver.testing.contracts import healing_racing
from bloomweaver.testing.contracts import ledger_racing as contract
from tests.support import databases


class TestSqlite(contract.RacingContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{tmp_path}/ledger.db"

    @pytest.fixture
    async def database(self, time, url):
        async with databases.opened(url, time) as opened:
            yield opened

    @pytest.fixture
    async def other(self, database, time, url):
        async with databases.opened(url, time) as opened:
            yield opened


class TestPostgresql(TestSqlite):
    @pytest.fixture
    def url(self, postgresql_store_url):
        return postgresql_store_url


class TestSqliteHealing(healing_racing.RacingContract):
    url, database, other = TestSqlite.url, TestSqlite.database, TestSqlite.other


class TestPostgresqlHealing(healing_racing.RacingContract):
    url, database, other = TestPostgresql.url, TestSqlite.database, TestSqlite.other
