import asyncio
import random

from bloomweaver.adapters.queues import memory
from bloomweaver.testing import clocks, loop
from bloomweaver.testing.contracts import queues as contract


def test_waiting_in_virtual_time_takes_no_time_and_ends_when_the_delay_does():
    virtual = loop.VirtualLoop(random.Random(1))
    store = memory.MemoryQueues(clock=loop.VirtualClock(virtual))

    async def wait_for_a_delayed_hint():
        await store.send("q", contract.hints(1), delay_seconds=1000.0)
        found = await store.receive("q", limit=1, visibility_seconds=30.0, wait_seconds=5000.0)
        return len(found), virtual.time()

    try:
        assert virtual.run_until_complete(wait_for_a_delayed_hint()) == (1, 1000.0)
    finally:
        virtual.close()


def test_a_waiting_receiver_gets_what_another_one_lets_expire():
    virtual = loop.VirtualLoop(random.Random(1))
    store = memory.MemoryQueues(clock=loop.VirtualClock(virtual))

    async def expire():
        await store.send("q", contract.hints(1))
        await store.receive("q", limit=1, visibility_seconds=30.0)
        (again,) = await store.receive("q", limit=1, visibility_seconds=30.0, wait_seconds=100.0)
        return again.receives, virtual.time()

    try:
        assert virtual.run_until_complete(expire()) == (2, 30.0)
    finally:
        virtual.close()


async def test_hints_come_in_the_order_in_which_they_fell_due():
    time = clocks.ManualClock()
    store = memory.MemoryQueues(clock=time)
    await store.send("q", contract.hints(1), delay_seconds=10.0)
    await store.send("q", contract.hints(2, first=1))
    time.advance(11)
    assert [delivery.hint for delivery in await contract.take(store, queue="q")] == [
        *contract.hints(2, first=1),
        *contract.hints(1),
    ]


async def test_several_waiting_receivers_are_all_served():
    store = memory.MemoryQueues(clock=clocks.ManualClock())
    waiting = [
        asyncio.create_task(store.receive("q", limit=1, visibility_seconds=30.0, wait_seconds=20.0)) for _ in range(3)
    ]
    await asyncio.sleep(0)
    await store.send("q", contract.hints(3))
    async with asyncio.timeout(5):
        assert [len(found) for found in await asyncio.gather(*waiting)] == [1, 1, 1]
