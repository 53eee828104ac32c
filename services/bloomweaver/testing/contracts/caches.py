"""What `ports.caches` promises, as tests. Subclass `CachesContract` and supply `cache` and `pass_time(seconds)`,
or `LeasesContract` and supply `leases`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest

from bloomweaver.ports import caches

PassTime = Callable[[float], Awaitable[None]]


def key() -> str:
    """One that no test had before: a server's cache may be shared."""
    return f"bloomweaver/tests/{secrets.token_hex(8)}/ü"


class LeasesContract:
    """Whoever lends turns of rates passes these unchanged, as long as its server is there."""

    async def test_a_bucket_holds_its_burst(self, leases: caches.Leases) -> None:
        name = key()
        first = await leases.lease(name, 3, per_second=0.005, burst=5)
        second = await leases.lease(name, 5, per_second=0.005, burst=5)
        none = await leases.lease(name, 5, per_second=0.005, burst=5)
        assert (first, second) == (caches.Lease(3, 2, 0.0), caches.Lease(2, 0, 0.0))
        assert none is not None
        assert none.granted == 0
        assert 100 < none.wait_seconds <= 200

    async def test_a_bucket_refills(self, leases: caches.Leases, pass_time: PassTime) -> None:
        name = key()
        while found := await leases.lease(name, 5, per_second=5, burst=5):
            if not found.granted:
                break
        assert found is not None
        await pass_time(found.wait_seconds)
        later = await leases.lease(name, 5, per_second=5, burst=5)
        assert later is not None
        assert later.granted >= 1

    async def test_racing_callers_share_a_bucket(self, leases: caches.Leases) -> None:
        name = key()
        found = await asyncio.gather(*(leases.lease(name, 2, per_second=0.01, burst=9) for _ in range(20)))
        assert sum(lease.granted for lease in found if lease is not None) == 9


class CachesContract(LeasesContract):
    """Every adapter passes these unchanged, as long as its server is there."""

    @pytest.fixture
    def leases(self, cache: caches.Cache) -> caches.Leases:
        """A cache lends turns itself."""
        return cache

    async def test_what_was_put_comes_back_in_the_order_asked(self, cache: caches.Cache) -> None:
        first, second, third = key(), key(), key()
        await cache.put({first: b"1", second: bytes(range(256))}, seconds=60)
        assert await cache.get([second, third, first]) == [bytes(range(256)), None, b"1"]
        assert await cache.get([]) == []

    async def test_the_last_value_wins(self, cache: caches.Cache) -> None:
        name = key()
        await cache.put({name: b"old"}, seconds=60)
        await cache.put({name: b"new"}, seconds=60)
        assert await cache.get([name]) == [b"new"]

    async def test_a_value_ends_with_its_seconds(self, cache: caches.Cache, pass_time: PassTime) -> None:
        short, long = key(), key()
        await cache.put({short: b"1"}, seconds=0.2)
        await cache.put({long: b"1"}, seconds=60)
        await pass_time(0.3)
        assert await cache.get([short, long]) == [None, b"1"]

    async def test_what_is_forgotten_is_gone(self, cache: caches.Cache) -> None:
        name, other = key(), key()
        await cache.put({name: b"1", other: b"2"}, seconds=60)
        await cache.forget([name, key()])
        await cache.forget([])
        assert await cache.get([name, other]) == [None, b"2"]

    async def test_a_value_too_large_is_not_kept(self, cache: caches.Cache) -> None:
        name, other = key(), key()
        await cache.put({name: b"x" * (256 * 1024 + 1), other: b"x" * 256 * 1024}, seconds=60)
        assert [value is None for value in await cache.get([name, other])] == [True, False]

    async def test_a_number_only_rises(self, cache: caches.Cache) -> None:
        name = key()
        for number in (7, 3, 2**53, 9):
            await cache.raise_to(name, number, seconds=60)
        assert await cache.get([name]) == [str(2**53).encode()]

    async def test_a_number_ends_with_its_seconds(self, cache: caches.Cache, pass_time: PassTime) -> None:
        name = key()
        await cache.raise_to(name, 7, seconds=0.2)
        await pass_time(0.3)
        await cache.raise_to(name, 3, seconds=60)
        assert await cache.get([name]) == [b"3"]

    async def test_racing_callers_leave_the_greatest_number(self, cache: caches.Cache) -> None:
        name = key()
        await asyncio.gather(*(cache.raise_to(name, number, seconds=60) for number in range(20)))
        assert await cache.get([name]) == [b"19"]
