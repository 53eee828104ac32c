import asyncio

from bloomweaver.controller import work_queue
from bloomweaver.testing import clocks


def queue() -> tuple[work_queue.WorkQueue, clocks.ManualClock]:
    clock = clocks.ManualClock()
    return work_queue.WorkQueue(clock=clock), clock


async def test_what_is_said_twice_is_looked_at_once():
    made, _ = queue()
    for key in ("a", "b", "a"):
        made.add(key)
    assert [await made.take(), await made.take(), made.depth().keys] == ["a", "b", 0]


async def test_what_is_said_while_it_is_looked_at_has_it_looked_at_once_more_afterwards():
    made, _ = queue()
    made.add("a")
    await made.take()
    made.add("a")
    assert made.depth().keys == 0
    made.done("a", again_seconds=None)
    assert await made.take() == "a"


async def test_what_keeps_failing_comes_later_and_later():
    made, _ = queue()
    waits = []
    for _ in range(10):
        made.add("a")
        waits.append(made.failed(await made.take()))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


async def test_a_success_forgets_the_failures():
    made, _ = queue()
    for _ in range(3):
        made.add("a")
        made.failed(await made.take())
    made.add("a")
    made.done(await made.take(), again_seconds=None)
    made.add("a")
    assert made.failed(await made.take()) == 1


async def test_the_sooner_of_two_times_counts():
    made, _ = queue()
    made.add_after("a", 3600)
    made.add_after("a", 0)
    made.add_after("a", 3600)
    assert await asyncio.wait_for(made.take(), 2) == "a"


async def test_a_resource_that_is_gone_is_not_looked_at_again():
    made, _ = queue()
    made.add("a")
    made.add_after("b", 0)
    made.forget("a")
    made.forget("b")
    await asyncio.sleep(0.01)
    assert made.depth().keys == 0


def test_the_age_is_that_of_what_waits_longest():
    made, clock = queue()
    made.add("a")
    clock.advance(5)
    made.add("b")
    clock.advance(2)
    assert made.depth() == work_queue.Depth(2, 7)
