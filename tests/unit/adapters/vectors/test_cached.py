import numpy as np
import pytest

from bloomweaver.adapters.caches import memory as caches
from bloomweaver.adapters.vectors import cached, memory
from bloomweaver.domain import filters
from bloomweaver.ports import vectors as ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import vectors as contract

NAMESPACE = contract.NAMESPACE


class CountedVectors(memory.MemoryVectors):
    """Counts the queries that reach it. seen: the position that its reader claims, None for its own."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = 0
        self.seen: int | None = None
        self.mute = False

    async def query(self, namespace, vector, *, k, where=None):
        self.queries += 1
        found = await super().query(namespace, vector, k=k, where=where)
        position = None if self.mute else found.position if self.seen is None else self.seen
        return ports.Matches(found.matches, position, found.more)


@pytest.fixture
def time():
    return clocks.ManualClock()


@pytest.fixture
def cache(time):
    return caches.MemoryCache(clock=time)


@pytest.fixture
def inner():
    return CountedVectors()


@pytest.fixture
def store(inner, cache):
    return cached.CachedVectors(inner, cache)


async def asked(store, k=3, where=None, namespace=NAMESPACE, vector=None):
    vector = contract.unit(1, 2) if vector is None else vector
    return await store.query(namespace, vector, k=k, where=where and filters.parse(where))


async def test_the_same_question_is_put_to_the_store_once(store, inner, time):
    await store.upsert(NAMESPACE, contract.random_records(9))
    first = await asked(store)
    assert await asked(store) == first
    assert inner.queries == 1
    time.advance(cached.CANDIDATES_SECONDS)
    assert await asked(store) == first
    assert inner.queries == 2


async def test_another_question_is_another(store, inner):
    await store.upsert(NAMESPACE, contract.random_records(9))
    await asked(store)
    for other in (
        {"k": 4}, {"where": {"n": 1}}, {"where": {"n": True}}, {"namespace": "dep.other.pipe"},
        {"vector": np.nextafter(contract.unit(1, 2), np.float32(1), dtype=np.float32)},
    ):  # fmt: skip
        before = inner.queries
        await asked(store, **other)
        assert inner.queries == before + 1, other


async def test_a_write_is_seen_by_the_next_question(store, inner):
    await store.upsert(NAMESPACE, contract.random_records(2))
    assert len((await asked(store)).matches) == 2
    await store.upsert(NAMESPACE, contract.random_records(3))
    assert len((await asked(store)).matches) == 3


async def test_what_a_reader_that_lags_answers_is_not_remembered(store, inner):
    position = await store.upsert(NAMESPACE, contract.random_records(2))
    inner.seen = position - 1
    await asked(store)
    inner.seen = position
    assert (await asked(store)).position == position
    inner.seen = position - 1
    assert (await asked(store)).position == position
    assert inner.queries == 2


async def test_a_write_by_another_process_is_seen_too(store, inner, cache):
    await store.upsert(NAMESPACE, contract.random_records(2))
    await asked(store)
    await cached.CachedVectors(inner, cache).upsert(NAMESPACE, contract.random_records(3))
    assert len((await asked(store)).matches) == 3


async def test_answers_without_a_position_are_not_remembered(store, inner):
    inner.mute = True
    await asked(store)
    await asked(store)
    assert inner.queries == 2


async def test_a_cache_that_forgot_how_far_writes_are_gives_nothing(store, inner, cache):
    await store.upsert(NAMESPACE, contract.random_records(2))
    await asked(store)
    await cache.forget([f"bloomweaver/{NAMESPACE}/position"])
    await asked(store)
    assert inner.queries == 2
    await asked(store)
    assert inner.queries == 2


async def test_what_another_release_wrote_is_no_answer(store, inner, cache):
    await store.upsert(NAMESPACE, contract.random_records(2))
    await asked(store)
    (name,) = [key for key in cache._held if "/candidates/" in key]
    for strange in (b"{}", b"[1]", b"not json", b'[1, false, [["a"]]]', b"\xff"):
        await cache.put({name: strange}, seconds=60)
        assert len((await asked(store)).matches) == 2
