"""The random histories of `test_ledger_state_machine.py` on DynamoDB: the same model, the same answers."""

import collections
import contextlib
from typing import Any

import hypothesis
import pytest

from bloomweaver.adapters.engines.dynamodb import documents, keys, scanning
from bloomweaver.adapters.engines.dynamodb import items as stored
from bloomweaver.domain.documents import State, VersionState
from bloomweaver.testing import clocks
from tests.contract import test_ledger_state_machine as machines
from tests.support import dynamodb
from tests.support.servers import processes


class DynamodbMachine(machines.LedgerMachine):
    server = ""

    def opening(self, time: clocks.ManualClock) -> contextlib.AbstractAsyncContextManager[Any]:
        return dynamodb.opened(dynamodb.address(self.server), time)

    def troubles(self) -> list[Any]:
        rows = self.run(self.rows())
        found: list[Any] = []
        for item in rows:
            row, versions = documents.row_and_versions(item)
            if documents.is_pending(row) and "due_in" not in item:
                found.append(("unwatched", row))
            if any(v.state is VersionState.DEAD for v in versions) != ("remove_at" in item):
                found.append(("untimed", row, versions))
            for v in versions:
                mixed = v.state is VersionState.LIVE and v.seq != row.live
                if mixed or (v.seq < row.live and v.state not in documents.ENDED):
                    found.append(("mixed", row, v))
        counted = {state: number for state, number in self.run(self.world.ledger.counts("acme")).items() if number}
        if counted != collections.Counter(State(item["state"]["S"]) for item in rows):
            found.append(("miscounted", counted))
        return [*found, *self.run(self.strays(rows))]

    async def rows(self) -> list[stored.Item]:
        return [item async for item in scanning.ordered(self.database.engine, self.world.collection.uid)]

    async def strays(self, rows: list[stored.Item]) -> list[Any]:
        """Chunks of builds that the row does not name, and a number of revisions that is not that of the table."""
        found: list[Any] = []
        for item in rows:
            key = documents.row_key(item)
            beside = [one["sk"]["S"] for one in await self.database.engine.all(keys.document(key))]
            named = tuple(keys.chunks(build.pipe, build.build) for build in documents.builds_of(item))
            found += [sk for sk in beside if sk.startswith("chunk#") and not sk.startswith(named)]
            if sum(sk.startswith(keys.REVISION) for sk in beside) != stored.loaded(item)[5][0]:
                found.append(("revisions", key, beside))
        return found


@pytest.fixture(autouse=True, scope="module")
def _server(dynamodb_server: processes.Server) -> None:
    DynamodbMachine.server = dynamodb_server.url


TestDynamodb = DynamodbMachine.TestCase
TestDynamodb.settings = hypothesis.settings(max_examples=3, stateful_step_count=20, deadline=None)
pytestmark = pytest.mark.timeout(900)
