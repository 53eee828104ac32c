import asyncio
import random
import sqlite3

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.queues import sqlite
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clock_ports
from bloomweaver.ports import queues as ports
from bloomweaver.testing import clocks, loop
from bloomweaver.testing.contracts import queues as contract


@pytest.fixture
async def opened():
    async with engine.open_engine("mem://", clock=clocks.ManualClock(), nonces=clock.SystemNonces()) as memory:
        yield memory


class CountingEngine:
    """Counts transactions that write."""

    def __init__(self, inner):
        self._inner = inner
        self.clock, self.nonces = inner.clock, inner.nonces
        self.writes = 0

    async def write(self, work):
        self.writes += 1
        return await self._inner.write(work)

    async def read(self, work):
        return await self._inner.read(work)

    async def compact(self):
        return await self._inner.compact()


class BrokenEngine:
    """Fails like an engine whose file has gone, or whose disk is full."""

    def __init__(self, reason):
        self.clock: clock_ports.Clock = clocks.ManualClock()
        self.nonces: clock_ports.Nonces = clock.SystemNonces()
        self._reason = reason

    async def write(self, work):
        raise errors.TransientError(self._reason, "gone", retry_after_seconds=7.0)

    read = write

    async def compact(self):
        return False


async def test_asking_an_empty_queue_writes_nothing(opened):
    counting = CountingEngine(opened)
    store = sqlite.SqliteQueues(counting)
    assert await contract.take(store) == []
    assert await store.dead(contract.QUEUE, limit=10) == []
    await store.ack(contract.QUEUE, [])
    await store.send(contract.QUEUE, [])
    assert counting.writes == 0


async def test_a_batch_is_received_in_one_transaction(opened):
    counting = CountingEngine(opened)
    store = sqlite.SqliteQueues(counting)
    await store.send(contract.QUEUE, contract.hints(10))
    assert len(await contract.take(store)) == 10
    assert counting.writes == 2


def test_a_receiver_wakes_with_the_send_and_finds_what_falls_due_by_itself():
    virtual = loop.VirtualLoop(random.Random(1))

    async def receive_times():
        time = loop.VirtualClock(virtual)
        async with engine.open_engine("mem://", clock=time, nonces=clock.SystemNonces()) as opened:
            store, times = sqlite.SqliteQueues(opened), []
            for delay_seconds in (0.0, 7.0):
                waiting = asyncio.create_task(store.receive("q", limit=1, visibility_seconds=600.0, wait_seconds=60.0))
                await asyncio.sleep(0.1)
                began = virtual.time()
                await store.send("q", contract.hints(1), delay_seconds=delay_seconds)
                await waiting
                times.append(round(virtual.time() - began, 3))
        return times

    try:
        assert virtual.run_until_complete(receive_times()) == [0.0, 7.0]
    finally:
        virtual.close()


async def test_a_message_of_a_later_release_waits_for_it_and_holds_up_nobody(opened):
    store = sqlite.SqliteQueues(opened)
    await store.send(contract.QUEUE, contract.hints(1))
    await opened.write(lambda c: c.execute("""UPDATE hint SET message = '{"v":2}'"""))
    await store.send(contract.QUEUE, contract.hints(1, first=1))
    assert [delivery.hint for delivery in await contract.take(store)] == contract.hints(1, first=1)
    assert (await contract.depth(store)).total == 2


async def test_a_message_that_nobody_can_read_ends_in_the_dead_letters(opened):
    store = sqlite.SqliteQueues(opened)
    await store.send(contract.QUEUE, contract.hints(1))
    await opened.write(lambda c: c.execute("UPDATE hint SET message = 'garbage'"))
    for _ in range(ports.MAX_RECEIVES + 1):
        assert await contract.take(store) == []
        opened.clock.advance(contract.VISIBILITY_SECONDS + 1)
    assert await contract.depth(store) == ports.Depth(dead=1)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (Reason.LEDGER_UNAVAILABLE, Reason.QUEUE_UNAVAILABLE),
        (Reason.DISK_FULL, Reason.DISK_FULL),
        (Reason.DATABASE_LOCKED, Reason.DATABASE_LOCKED),
    ],
)
async def test_trouble_with_the_file_is_told_in_the_words_of_the_port(told, reason):
    store = sqlite.SqliteQueues(BrokenEngine(told))
    for call in (
        store.send(contract.QUEUE, contract.hints(1)),
        store.receive(contract.QUEUE, limit=1, visibility_seconds=1.0),
        store.depths(),
        store.dead(contract.QUEUE, limit=1),
        store.ack(contract.QUEUE, [ports.Delivery(contract.hints(1)[0], "1.1", 1)]),
        store.extend(contract.QUEUE, [ports.Delivery(contract.hints(1)[0], "1.1", 1)], visibility_seconds=1.0),
    ):
        with pytest.raises(errors.TransientError) as caught:
            await call
        assert (caught.value.reason, caught.value.retry_after_seconds) == (reason, 7.0)


async def test_counting_what_waits_reads_nothing_but_the_index(opened):
    def plan(connection: sqlite3.Connection) -> str:
        return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sqlite._DEPTHS}", {"now": 0.0}))

    assert "COVERING INDEX hint_due" in await opened.read(plan)
