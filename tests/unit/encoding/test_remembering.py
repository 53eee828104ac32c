import numpy as np
import pytest

from bloomweaver.adapters.caches import memory as caches
from bloomweaver.adapters.embedders import memory
from bloomweaver.domain import errors, models, reasons
from bloomweaver.encoding import remembering
from bloomweaver.testing import clocks

DOCUMENT, QUERY = models.Kind.DOCUMENT, models.Kind.QUERY


@pytest.fixture
def time():
    return clocks.ManualClock()


@pytest.fixture
def cache(time):
    return caches.MemoryCache(clock=time)


@pytest.fixture
def computed():
    return []


@pytest.fixture
async def encoder(cache, computed):
    def fault(passages):
        computed.extend(passage.text for passage in passages)
        if any("poison" in passage.text for passage in passages):
            raise errors.PermanentError(reasons.Reason.EMBEDDING_FAILED, "poison")

    embedder = memory.MemoryEmbedder(memory.spec_of(), fault=fault)
    async with remembering.RememberingBatcher(embedder, remembering.Memory(cache, "dep")) as opened:
        yield opened


async def encoded(encoder, *texts, owner="acme", kind=DOCUMENT):
    return await encoder.encode_texts(texts, kind=kind, owner=owner)


async def test_a_text_is_embedded_once(encoder, computed):
    first = await encoded(encoder, "one", "two")
    second = await encoded(encoder, "two", "three", "one")
    assert sorted(computed) == ["one", "three", "two"]
    np.testing.assert_array_equal(second.vectors[[2, 0]], first.vectors)
    assert second.tokens == (1, 1, 1)


async def test_what_is_remembered_ends(encoder, computed, time):
    await encoded(encoder, "one")
    time.advance(remembering.KEPT_SECONDS)
    await encoded(encoder, "one")
    assert computed == ["one", "one"]


async def test_owners_and_kinds_share_nothing(encoder, computed):
    await encoded(encoder, "one")
    await encoded(encoder, "one", owner="globex")
    await encoded(encoder, "one", kind=QUERY)
    assert computed == ["one"] * 3


async def test_work_without_an_owner_is_not_remembered(encoder, computed):
    await encoded(encoder, "one", owner="")
    await encoded(encoder, "one", owner="")
    assert computed == ["one", "one"]


async def test_a_failure_is_told_at_its_place_and_not_remembered(encoder, computed):
    await encoded(encoder, "one")
    for _ in range(2):
        found = await encoded(encoder, "one", "poison", "two")
        assert list(found.failures) == [1]
        assert np.isfinite(found.vectors[[0, 2]]).all()
    assert computed.count("one") == 1
    assert "poison" in computed[-1:]


async def test_a_text_that_is_too_long_fails_as_ever(encoder):
    found = await encoded(encoder, "one", "word " * 300)
    assert found.failures[1].reason is reasons.Reason.TEXT_TOO_LONG


async def test_a_vector_of_another_size_is_not_taken(encoder, computed, cache):
    await encoded(encoder, "one")
    (name,) = cache._held
    await cache.put({name: b"1234"}, seconds=60)
    assert (await encoded(encoder, "one")).vectors.shape == (1, 8)
    assert computed == ["one", "one"]
