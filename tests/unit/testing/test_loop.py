"""Virtual time, seeded order, simulated processes that die."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from bloomweaver.testing import loop


def run(work: Coroutine[Any, Any, Any], *, on: loop.VirtualLoop | None = None) -> Any:
    virtual = on or loop.VirtualLoop(random.Random(1))
    try:
        return virtual.run_until_complete(work)
    finally:
        virtual.close()


def test_a_year_passes_at_once():
    virtual = loop.VirtualLoop(random.Random(1))

    run(asyncio.sleep(365 * 86_400.0), on=virtual)

    assert virtual.time() == 365 * 86_400.0


def test_timeouts_end_in_virtual_time():
    async def wait() -> None:
        async with asyncio.timeout(30.0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(wait())


def test_what_can_never_come_is_a_deadlock_and_not_a_hang():
    virtual = loop.VirtualLoop(random.Random(1))
    try:
        with pytest.raises(loop.Deadlock):
            virtual.run_until_complete(asyncio.Event().wait())
        for task in asyncio.all_tasks(virtual):
            task.cancel()
        virtual.run_until_complete(asyncio.sleep(0))
    finally:
        virtual.close()


def order_of(seed: int) -> list[int]:
    async def race() -> list[int]:
        ended: list[int] = []

        async def runner(number: int) -> None:
            await asyncio.sleep(0)
            ended.append(number)

        await asyncio.gather(*(runner(number) for number in range(6)))
        return ended

    order: list[int] = run(race(), on=loop.VirtualLoop(random.Random(seed)))
    return order


def test_the_order_of_what_is_ready_is_drawn_from_the_seed_and_the_same_each_time():
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)) for seed in range(10)}) > 5


def test_work_for_threads_runs_in_line():
    async def compute() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: 6 * 7)

    assert run(compute()) == 42


def test_a_killed_process_does_nothing_more_not_even_its_clean_up():
    virtual = loop.VirtualLoop(random.Random(1))
    host = loop.Host("worker", loop=virtual)
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            host.check()
            told.append("cleaned up")

    async def scene() -> None:
        host.start(work())
        await asyncio.sleep(10.0)
        host.kill()
        await asyncio.sleep(200.0)

    run(scene(), on=virtual)

    assert told == []


def test_a_request_to_a_process_that_dies_is_lost():
    virtual = loop.VirtualLoop(random.Random(1))
    host = loop.Host("server", loop=virtual)
    virtual.call_later(1.0, host.kill)

    with pytest.raises(loop.Lost):
        run(host.call(asyncio.sleep(5.0)), on=virtual)


def test_tasks_that_a_process_starts_die_with_it():
    virtual = loop.VirtualLoop(random.Random(1))
    host = loop.Host("server", loop=virtual)
    ended: list[bool] = []

    async def child() -> None:
        await asyncio.sleep(50.0)
        ended.append(True)

    async def main() -> None:
        kept = asyncio.create_task(child())
        await asyncio.sleep(100.0)
        await kept

    async def scene() -> None:
        host.start(main())
        await asyncio.sleep(1.0)
        host.kill()
        await asyncio.sleep(100.0)

    run(scene(), on=virtual)

    assert ended == []
