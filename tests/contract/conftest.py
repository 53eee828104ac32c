"""One database per test, of every kind, for the contracts of the ports that a database carries."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bloomweaver.testing import clocks
from tests.support import databases


@pytest.fixture
def time() -> clocks.ManualClock:
    return databases.clock()


@pytest.fixture(params=["mem://", "sqlite:///{folder}/ledger.db"], ids=["memory", "sqlite-file"])
async def database(
    request: pytest.FixtureRequest, time: clocks.ManualClock, tmp_path: Path
) -> AsyncIterator[databases.Database]:
    async with databases.opened(request.param.format(folder=tmp_path), time) as opened:
        yield opened
