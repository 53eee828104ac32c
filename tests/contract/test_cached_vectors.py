"""A store with its candidates remembered is a store: what it shows may lag, by as long as it remembers."""

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import memory as caches
from bloomweaver.adapters.caches import valkey
from bloomweaver.adapters.vectors import cached, memory
from bloomweaver.testing.contracts import vectors as contract


class TestRememberedInThisProcess(contract.VectorsContract):
    patience_seconds = 60.0

    @pytest.fixture
    def vectors(self):
        cache = caches.MemoryCache(clock=clock.SystemClock())
        return cached.CachedVectors(memory.MemoryVectors(), cache, candidates_seconds=0.1)


class TestRememberedOnValkey(contract.VectorsContract):
    patience_seconds = 60.0

    @pytest.fixture
    async def vectors(self, valkey_server):
        cache = await valkey.open_cache(f"{valkey_server.url}?tls=off", clock=clock.SystemClock(), call_seconds=60)
        keys = [key async for key in cache._connected().scan_iter(f"bloomweaver/{contract.NAMESPACE}/*")]
        await cache.forget(keys)  # an empty store begins to count anew
        yield cached.CachedVectors(memory.MemoryVectors(), cache, candidates_seconds=0.1)
        await cache.aclose()


class TestRememberedOnACacheThatIsGone(contract.VectorsContract):
    @pytest.fixture
    async def vectors(self):
        cache = await valkey.open_cache("valkey://127.0.0.1:9?tls=off", clock=clock.SystemClock())
        yield cached.CachedVectors(memory.MemoryVectors(), cache)
        await cache.aclose()
