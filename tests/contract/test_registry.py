import pytest

from bloomweaver.testing.contracts import registry as contract
from tests.support import databases


class TestMemory(contract.RegistryContract):
    @pytest.fixture
    async def database(self, time):
        async with databases.opened("mem://", time) as database:
            yield database


class TestSqliteFile(contract.RegistryContract):
    @pytest.fixture
    async def database(self, time, tmp_path):
        async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", time) as database:
            yield database


@pytest.fixture
def time():
    return databases.clock()
