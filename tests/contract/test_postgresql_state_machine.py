"""The random histories of `test_ledger_state_machine.py` on PostgreSQL: the same model, the same answers."""

import contextlib
from typing import Any

import hypothesis
import pytest
from hypothesis import stateful

from bloomweaver.testing import clocks
from tests.contract import test_ledger_state_machine as machines
from tests.support import databases
from tests.support.servers import fixtures

STATEMENTS = (machines.UNWATCHED, machines.UNTIMED, machines.MISCOUNTED, machines.MIXED)


class PostgresqlMachine(machines.LedgerMachine):
    stores: fixtures.Stores

    def opening(self, time: clocks.ManualClock) -> contextlib.AbstractAsyncContextManager[Any]:
        return databases.opened(self.stack.enter_context(self.stores()), time)

    def troubles(self) -> list[Any]:
        return [row for statement in STATEMENTS for row in self.run(self.database.engine.fetch(statement))]


@pytest.mark.timeout(900)
def test_postgresql_answers_as_the_model_does(postgresql_stores: fixtures.Stores):
    class Machine(PostgresqlMachine):
        stores = staticmethod(postgresql_stores)

    settings = hypothesis.settings(max_examples=5, stateful_step_count=25, deadline=None)
    stateful.run_state_machine_as_test(Machine, settings=settings)
