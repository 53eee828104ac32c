from bloomweaver.adapters.blobs import memory
from bloomweaver.domain import measured, models, pricing
from bloomweaver.domain.documents import Chunking
from bloomweaver.testing import clocks
from bloomweaver.webhook import application, estimating, offering
from tests.support import pipelines

SPACE = "00c0ffee00c0ffee"


async def speed(_: str) -> int:
    return 2


async def test_time_is_that_of_a_pod_and_cost_that_of_the_list():
    async with pipelines.opened() as pipe:
        for name in "ab":
            await pipe.put(name, "one two three four five six seven eight nine ten")
        await pipe.settle()
        collection = await pipe.collection()
        target = estimating.Target(
            space=SPACE, dimension=4, chunking=Chunking(4, 2), priced_as="text-embedding-3-large"
        )
        found = await estimating.Estimator(pipe.store.database.ledger, speed=speed).of(
            collection.uid, documents=200, target=target
        )
    assert (found.documents, found.tokens, found.chunks) == (200, 2000, 800)
    assert (found.vector_bytes, found.seconds) == (800 * 16, 400)
    assert found.cost is not None
    assert found.cost.amount == 0.01


def test_a_price_is_rounded_up_to_the_cent():
    price = pricing.PRICES["amazon.titan-embed-text-v2:0"]
    assert [pricing.cost_of(price, tokens=tokens) for tokens in (0, 1, 10_000_000)] == [0.0, 0.01, 0.2]


async def test_the_speed_is_the_newest_that_an_embedder_told():
    clock = clocks.ManualClock()
    stored = memory.MemoryBlobs(clock=clock)
    assert await application.measured_speed(stored, "here", SPACE) == 0
    for number, chunks in enumerate((10, 40)):
        key = measured.key_of("here", SPACE, nonce=str(number))
        await stored.put(key, measured.encode(measured.Measured(chunks, 1)))
        clock.advance(1)
    assert await application.measured_speed(stored, "here", SPACE) == 40


async def test_only_what_a_service_runs_has_a_price():
    async def resolve(name: str) -> tuple[models.ModelSpec, str]:
        origin = models.Origin.SERVICE if name == "theirs" else models.Origin.WHEEL
        source = models.Source(origin, "text-embedding-3-small")
        return models.ModelSpec(name=name, source=source, dimension=3, max_tokens=9, pooling=models.Pooling.MEAN), SPACE

    offered = offering.Offering(resolve, default="ours", names_only=True)
    assert [(await offered.find(name)).priced_as for name in ("theirs", "ours")] == ["text-embedding-3-small", ""]
