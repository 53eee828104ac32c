"""One database per test, of every kind, for the contracts of the ports that a database carries."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bloomweaver.testing import clocks
from tests.support import databases


@pytest.fixture
def time() -> clocks.ManualClock:
    return databases.clock()


@pytest.fixture(params=["memory", "sqlite-file", "postgresql"])
async def database(
    request: pytest.FixtureRequest, time: clocks.ManualClock, tmp_path: Path
) -> AsyncIterator[databases.Database]:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_store_url")
    else:
        url = "mem://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db"
    async with databases.opened(url, time) as opened:
        yield opened
