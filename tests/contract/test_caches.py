"""The caches, and that nobody misses the one on a server when it is gone."""

import asyncio
import contextlib
import subprocess
import sys
import urllib.parse

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import memory, postgresql, valkey
from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import caches as contract
from tests.support.servers import catalog, processes


def open_patiently(server, time):
    """A tenth of a second is little for a busy machine, where it is not what is asked."""
    return valkey.open_cache(f"{server.url}?tls=off", clock=time, call_seconds=60)


class TestMemory(contract.CachesContract):
    @pytest.fixture
    def time(self):
        return clocks.ManualClock()

    @pytest.fixture
    def cache(self, time):
        return memory.MemoryCache(clock=time)

    @pytest.fixture
    def pass_time(self, time):
        async def pass_time(seconds):
            time.advance(seconds)

        return pass_time

    async def test_what_was_used_longest_ago_goes_first(self, time):
        cache = memory.MemoryCache(clock=time, max_values=2)
        await cache.put({"a": b"1", "b": b"2"}, seconds=60)
        await cache.get(["a"])
        await cache.put({"c": b"3"}, seconds=60)
        assert await cache.get(["a", "b", "c"]) == [b"1", None, b"3"]


class TestValkey(contract.CachesContract):
    @pytest.fixture
    async def cache(self, valkey_server):
        opened = await open_patiently(valkey_server, clock.SystemClock())
        yield opened
        await opened.aclose()

    @pytest.fixture
    def pass_time(self):
        return asyncio.sleep  # a server's clock cannot be moved


@contextlib.asynccontextmanager
async def database(url, *, call_seconds=60.0):
    """Turns that a database lends, patiently."""
    async with engine.open_engine(url, nonces=clock.SystemNonces()) as opened:
        yield postgresql.PostgresqlLeases(opened, clock=clock.SystemClock(), call_seconds=call_seconds)


class TestPostgresql(contract.LeasesContract):
    @pytest.fixture
    async def leases(self, postgresql_store_url):
        async with database(postgresql_store_url) as opened:
            yield opened

    @pytest.fixture
    def pass_time(self):
        return asyncio.sleep  # a server's clock cannot be moved

    async def test_a_rate_of_many_a_second_loses_no_turn_to_rounding(self, leases):
        name = contract.key()
        first = await leases.lease(name, 1000, per_second=1e6, burst=1_000_000)
        assert (first.granted, first.left) == (1000, 999_000)
        second = await leases.lease(name, 1000, per_second=1e6, burst=1_000_000)
        assert second.granted == 1000
        assert second.left >= 998_000


async def test_a_database_that_does_not_answer_is_left_alone_for_a_while(postgresql_store_url):
    async with database(postgresql_store_url, call_seconds=0.0) as leases:
        assert await leases.lease("a", 1, per_second=1, burst=9) is None
        leases._call_seconds = 60.0
        assert await leases.lease("a", 1, per_second=1, burst=9) is None


TAKER = """
import asyncio, contextlib, sys
from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import postgresql
from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.domain import errors
from bloomweaver.runtime.web import rates

async def main(url):
    taken = 0
    async with engine.open_engine(url, nonces=clock.SystemNonces()) as opened:
        leases = postgresql.PostgresqlLeases(opened, clock=clock.SystemClock(), call_seconds=60)
        limiter = rates.RateLimiter(rates.Rate(0.0001, 20), clock=clock.SystemClock(), leases=leases)
        sys.stdin.readline()
        for _ in range(20):
            with contextlib.suppress(errors.TransientError):
                await limiter.take("key")
                taken += 1
    print(taken)

asyncio.run(main(sys.argv[1]))
"""


def test_two_processes_share_what_a_key_may_ask_by_the_database(postgresql_store_url):
    command = [sys.executable, "-c", TAKER, postgresql_store_url]
    pipe = subprocess.PIPE
    takers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.write("\n")
            taker.stdin.flush()
        taken = [int(taker.communicate(timeout=120)[0]) for taker in takers]
    finally:
        for taker in takers:
            taker.kill()
            taker.communicate()
    assert sum(taken) == 20


async def test_a_server_that_is_gone_is_not_asked_for_a_while_and_then_comes_back():
    time = clocks.ManualClock()
    port = processes.free_port()
    try:
        with catalog.module("valkey").running(port=port) as server:
            cache = await open_patiently(server, time)
            await cache.put({"name": b"1"}, seconds=60)
            assert await cache.get(["name"]) == [b"1"]
    except processes.Absent as absent:
        pytest.skip(f"not run: {absent}")
    assert await cache.get(["name", "other"]) == [None, None]
    async with listening(port) as connections:
        for _ in range(100):
            assert await cache.get(["name", "other"]) == [None, None]
            await cache.put({"name": b"1"}, seconds=60)
            await cache.raise_to("number", 1, seconds=60)
            await cache.forget(["name"])
    assert connections == []
    with catalog.module("valkey").running(port=port):
        assert await cache.get(["name"]) == [None]
        time.advance(valkey.LONGEST_PAUSE_SECONDS)
        await cache.put({"name": b"2"}, seconds=60)
        assert await cache.get(["name"]) == [b"2"]
    await cache.aclose()


async def test_a_server_that_hangs_costs_a_moment_and_then_nothing():
    port = processes.free_port()
    async with listening(port) as connections, asyncio.timeout(60):
        cache = await valkey.open_cache(f"valkey://127.0.0.1:{port}?tls=off", clock=clocks.ManualClock())
        for _ in range(100):
            assert await cache.get(["name"]) == [None]
        assert len(connections) == 1
        await cache.aclose()


@contextlib.asynccontextmanager
async def listening(port):
    """Whoever connects there, and gets no answer."""
    connections = []

    async def hang(reader, writer):
        connections.append(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", port):
        yield connections


async def test_a_password_comes_from_its_file(tmp_path, valkey_server):
    (tmp_path / "password").write_text("wrong\n")
    url = f"{valkey_server.url}?tls=off&password_file={tmp_path}/password"
    cache = await valkey.open_cache(url, clock=clock.SystemClock())
    assert await cache.get(["name"]) == [None]  # refused, which is as good as gone
    await cache.aclose()


@pytest.mark.parametrize(
    "url",
    ["valkey://", "valkey://host/name", "valkey://host.example?tls=off", "valkey://:password@host", "valkey://host?x=y",
     "valkey://host?tls=maybe"],
)  # fmt: skip
async def test_an_address_that_is_not_clear_is_refused(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        await valkey.open_cache(url, clock=clock.SystemClock())
    assert caught.value.reason is Reason.INVALID_CONFIGURATION
    assert urllib.parse.urlsplit(url).password is None or "password@" not in caught.value.detail
