"""The caches, and that nobody misses the one on a server when it is gone."""

import asyncio
import time
import urllib.parse

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import memory, valkey
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import caches as contract
from tests.support.servers import catalog, processes


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
        opened = await valkey.open_cache(f"{valkey_server.url}?tls=off", clock=clock.SystemClock())
        yield opened
        await opened.aclose()

    @pytest.fixture
    def pass_time(self):
        return asyncio.sleep  # a server's clock cannot be moved


async def test_a_server_that_is_killed_costs_moments_and_comes_back(caplog):
    time_ = clocks.ManualClock()
    port = processes.free_port()
    try:
        with catalog.module("valkey").running(port=port) as server:
            cache = await valkey.open_cache(f"{server.url}?tls=off", clock=time_)
            await cache.put({"name": b"1"}, seconds=60)
            assert await cache.get(["name"]) == [b"1"]
    except processes.Absent as absent:
        pytest.skip(f"not run: {absent}")
    began = time.monotonic()
    for _ in range(1000):
        assert await cache.get(["name", "other"]) == [None, None]
        await cache.put({"name": b"1"}, seconds=60)
        await cache.raise_to("number", 1, seconds=60)
        await cache.forget(["name"])
    assert time.monotonic() - began < 2
    with catalog.module("valkey").running(port=port):
        assert await cache.get(["name"]) == [None]
        time_.advance(valkey.LONGEST_PAUSE_SECONDS)
        await cache.put({"name": b"2"}, seconds=60)
        assert await cache.get(["name"]) == [b"2"]
    await cache.aclose()


async def test_a_server_that_hangs_costs_a_tenth_of_a_second_and_then_nothing():
    time_ = clocks.ManualClock()

    async def hang(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cache = await valkey.open_cache(f"valkey://127.0.0.1:{port}?tls=off", clock=time_)
        for expected in (0.05, 0.0):
            began = time.monotonic()
            assert await cache.get(["name"]) == [None]
            assert expected <= time.monotonic() - began < expected + 1
        await cache.aclose()


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
