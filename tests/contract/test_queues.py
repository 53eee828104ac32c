import asyncio
import contextlib

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.postgresql import engine as postgresql_engine
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.queues import memory, postgresql, sqlite
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import queues as contract
from tests.support import running

LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE starts_with(query, 'LISTEN') AND state = 'idle'"
    " AND datname = current_database()"
)


@pytest.fixture
def time():
    return clocks.ManualClock()


@pytest.fixture
def pass_time(time):
    async def pass_time(seconds):
        time.advance(seconds)

    return pass_time


class TestMemory(contract.QueuesContract):
    @pytest.fixture
    def queues(self, time):
        return memory.MemoryQueues(clock=time)


class TestSqliteFile(contract.QueuesContract):
    @pytest.fixture
    async def queues(self, time, tmp_path):
        url = f"sqlite:///{tmp_path}/bloom.db"
        async with engine.open_engine(url, clock=time, nonces=clock.SystemNonces()) as opened:
            yield sqlite.SqliteQueues(opened)

    async def test_a_receiver_finds_what_another_process_sends(self, time, tmp_path, queues):
        url = f"sqlite:///{tmp_path}/bloom.db"
        async with engine.open_engine(url, clock=time, nonces=clock.SystemNonces()) as other:
            await sqlite.SqliteQueues(other).send(contract.QUEUE, contract.hints(1))
            found = await queues.receive(contract.QUEUE, limit=5, visibility_seconds=30.0, wait_seconds=5.0)
        assert [delivery.hint for delivery in found] == contract.hints(1)

    async def test_receivers_of_two_processes_never_hold_the_same_hint(self, time, tmp_path, queues):
        url = f"sqlite:///{tmp_path}/bloom.db"
        await queues.send(contract.QUEUE, contract.hints(100))
        async with engine.open_engine(url, clock=time, nonces=clock.SystemNonces()) as other:
            both = [queues, sqlite.SqliteQueues(other)]
            found = [await contract.take(both[turn % 2], limit=7) for turn in range(20)]
        held = [delivery.hint.document_id for batch in found for delivery in batch]
        assert len(held) == len(set(held)) == 100

    async def test_hints_outlive_the_process(self, time, tmp_path):
        url = f"sqlite:///{tmp_path}/bloom.db"
        for expected in ([], contract.hints(1)):
            async with contextlib.AsyncExitStack() as stack:
                opened = await stack.enter_async_context(
                    engine.open_engine(url, clock=time, nonces=clock.SystemNonces())
                )
                queues = sqlite.SqliteQueues(opened)
                assert [delivery.hint for delivery in await contract.take(queues)] == expected
                if not expected:
                    await queues.send(contract.QUEUE, contract.hints(1))


class TestPostgresql(contract.QueuesContract):
    @pytest.fixture
    async def queues(self, time, postgresql_store_url):
        async with postgresql_engine.open_engine(
            postgresql_store_url, clock=time, nonces=clock.SystemNonces()
        ) as opened:
            found = postgresql.PostgresqlQueues(opened)
            yield found
            await found.aclose()

    @pytest.fixture
    async def other(self, time, postgresql_store_url, queues):
        """The same queues in another process."""
        async with postgresql_engine.open_engine(
            postgresql_store_url, clock=time, nonces=clock.SystemNonces()
        ) as opened:
            found = postgresql.PostgresqlQueues(opened)
            yield found
            await found.aclose()

    async def test_a_receiver_is_woken_by_what_another_process_sends(self, time, postgresql_store_url, other):
        async with postgresql_engine.open_engine(postgresql_store_url, clock=time, nonces=clock.SystemNonces()) as own:
            sleeper = postgresql.PostgresqlQueues(own, poll_seconds=36_000.0)
            waiting = asyncio.create_task(
                sleeper.receive(contract.QUEUE, limit=5, visibility_seconds=30.0, wait_seconds=36_000.0)
            )
            await running.eventually(lambda: own.fetch(LISTENING))
            await other.send(contract.QUEUE, contract.hints(1))
            assert [delivery.hint for delivery in await waiting] == contract.hints(1)
            await sleeper.aclose()

    async def test_receivers_of_two_processes_never_hold_the_same_hint(self, queues, other):
        await queues.send(contract.QUEUE, contract.hints(100))
        both = [queues, other]
        found = await asyncio.gather(*(contract.take(both[turn % 2], limit=7) for turn in range(30)))
        rest = await contract.take(queues, limit=100)  # one that found all that was left locked came back empty
        held = [delivery.hint.document_id for batch in (*found, rest) for delivery in batch]
        assert len(held) == len(set(held)) == 100

    async def test_a_receive_that_is_given_up_half_way_leaves_nothing_leased(self, queues, pass_time):
        await queues.send(contract.QUEUE, contract.hints(50))
        for turn in range(40):
            taking = asyncio.create_task(contract.take(queues, limit=3))
            await asyncio.sleep(turn / 10_000)
            taking.cancel()
            (done,), _ = await asyncio.wait([taking])
            if not done.cancelled():
                await queues.release(contract.QUEUE, done.result())
        assert (await contract.depth(queues)).in_flight == 0


class TestSqliteInMemory(contract.QueuesContract):
    @pytest.fixture
    async def queues(self, time):
        async with engine.open_engine("mem://", clock=time, nonces=clock.SystemNonces()) as opened:
            yield sqlite.SqliteQueues(opened)
