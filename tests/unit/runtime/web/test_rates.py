import asyncio
import contextlib

import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.adapters.caches import memory
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import caches
from bloomweaver.runtime.web import answers, paths, rates
from tests.support import web


class Watched:
    """The part of a cache that holds turns: it counts how often it is asked, and can be away."""

    away = False
    asked = 0

    def __init__(self, clock):
        self.inner = memory.MemoryCache(clock=clock)

    async def lease(self, key: str, turns: int, *, per_second: float, burst: int) -> caches.Lease | None:
        self.asked += 1
        return None if self.away else await self.inner.lease(key, turns, per_second=per_second, burst=burst)


@pytest.fixture
def clock():
    return web.ManualClock()


@pytest.fixture
def cache(clock):
    return Watched(clock)


async def takes(limiter, count, *, key="a"):
    """How many of so many requests get a turn."""
    taken = 0
    for _ in range(count):
        with contextlib.suppress(errors.TransientError):
            await limiter.take(key)
            taken += 1
    return taken


@pytest.mark.parametrize("shared", [False, True])
async def test_a_key_has_its_burst_then_its_rate_and_takes_no_other_keys(clock, cache, shared):
    limiter = rates.RateLimiter(rates.Rate(2, 3), clock=clock, leases=cache if shared else None)
    assert await takes(limiter, 10) == 3
    with pytest.raises(errors.TransientError) as caught:
        await limiter.take("a")
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.retry_after_seconds == pytest.approx(0.5)
    assert await takes(limiter, 1, key="b") == 1
    clock.advance(0.5)
    assert await takes(limiter, 10) == 1


@pytest.mark.parametrize("shared", [False, True])
async def test_over_time_a_key_gets_its_rate_and_not_more(clock, cache, shared):
    limiter = rates.RateLimiter(rates.Rate(10, 5), clock=clock, leases=cache if shared else None)
    taken = 0
    for _ in range(1000):
        clock.advance(0.01)
        taken += await takes(limiter, 1)
    assert 98 <= taken <= 105


async def test_processes_with_one_cache_share_the_turns_and_ask_it_seldom(clock, cache):
    limiters = [rates.RateLimiter(rates.Rate(1000, 400), clock=clock, leases=cache) for _ in range(4)]
    assert sum([await takes(limiter, 400) for limiter in limiters]) == 400
    assert cache.asked <= 8


async def test_without_the_cache_each_process_counts_for_itself(clock, cache):
    told: list[str] = []
    limiters = [rates.RateLimiter(rates.Rate(2, 5), clock=clock, leases=cache, told=told.append) for _ in range(2)]
    cache.away = True
    assert [await takes(limiter, 9) for limiter in limiters] == [5, 5]
    assert set(told) == {"away"}
    cache.away = False
    assert await takes(limiters[0], 9) == 5
    assert {"granted", "empty"} < set(told)


async def test_requests_that_come_at_once_take_each_turn_once(clock, cache):
    limiter = rates.RateLimiter(rates.Rate(1, 20), clock=clock, leases=cache)
    results = await asyncio.gather(*(limiter.take("a") for _ in range(50)), return_exceptions=True)
    assert sum(not isinstance(result, errors.TransientError) for result in results) == 20


async def test_what_is_left_of_a_block_is_not_kept_for_long(clock, cache):
    limiter = rates.RateLimiter(rates.Rate(100, 40), clock=clock, leases=cache)
    await limiter.take("a")
    clock.advance(rates.KEEP_SECONDS)
    await limiter.take("a")
    assert cache.asked == 2


async def test_a_bounded_number_of_keys_is_remembered(clock):
    limiter = rates.RateLimiter(rates.Rate(1, 1), clock=clock, max_keys=2)
    assert [await takes(limiter, 1, key=key) for key in ("a", "b", "c", "c", "a")] == [1, 1, 1, 0, 1]


async def test_every_answer_says_what_is_left_and_the_refusal_when_to_come_back(clock):
    router = paths.router()

    @router.get("/v1/x")
    async def handler(request: Request) -> Response:
        return answers.as_json({})

    stack = web.stack(router, clock=clock, rate_limiter=rates.RateLimiter(rates.Rate(0.1, 2), clock=clock))
    async with stack.client(stack.keys.add()) as client, stack.client(stack.keys.add()) as other:
        found = [await client.get("/v1/x"), await client.get("/v1/nowhere"), await client.get("/v1/x")]
        assert [answer.status_code for answer in found] == [200, 404, 429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in found] == ["r=1", "r=0", "r=0"]
        assert {answer.headers["ratelimit-policy"] for answer in found} == {'"key";q=2;w=20'}
        assert found[-1].headers["retry-after"] == "10"
        assert found[-1].json()["reason"] == "rate_limited"
        assert (await client.get("/healthz")).status_code == 200
        assert (await other.get("/v1/x")).status_code == 200
