from collections.abc import Sequence

from bloomweaver.adapters import opening
from bloomweaver.adapters.blobs import memory
from bloomweaver.domain import measured
from bloomweaver.domain.events import Hint
from bloomweaver.embedder import measuring
from bloomweaver.encoding import figures
from bloomweaver.ports import queues
from bloomweaver.testing import clocks

SPACE = "00c0ffee00c0ffee"


class Slow:
    """A worker that takes `seconds`."""

    def __init__(self, clock: clocks.ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        self._clock.advance(self._seconds)
        return []


class Bench:
    def __init__(self) -> None:
        self.clock = clocks.ManualClock()
        self.blobs = memory.MemoryBlobs(clock=self.clock)
        self.figures = figures.Figures()
        self.meter = measuring.Measuring(
            self.blobs,
            lambda: self.figures,
            deployment="here",
            space=SPACE,
            nonces=opening.system_nonces(),
            seconds=self.clock.monotonic,
        )

    def worked(self, *, chunks: int, seconds: float) -> None:
        self.figures.passages_total += chunks
        self.figures.busy_seconds_total += seconds

    async def published(self) -> list[measured.Measured | None]:
        await self.meter.publish()
        keys = [blob.key async for blob in self.blobs.list(measured.folder("here"))]
        return [measured.decode(await self.blobs.get(key)) for key in keys]


async def test_an_embedder_tells_its_speed_and_its_longest_work():
    bench = Bench()
    for seconds in (2, 7, 1):
        await bench.meter.watched(Slow(bench.clock, seconds)).work([])
    bench.worked(chunks=400, seconds=4)
    assert await bench.published() == [measured.Measured(100, 7)]


async def test_too_little_work_says_nothing_until_there_is_enough():
    bench = Bench()
    bench.worked(chunks=measuring.LEAST_CHUNKS, seconds=measuring.LEAST_SECONDS / 2)
    assert await bench.published() == []
    bench.worked(chunks=measuring.LEAST_CHUNKS, seconds=measuring.LEAST_SECONDS / 2)
    assert await bench.published() == [measured.Measured(128, 1)]


async def test_a_finding_like_the_last_one_is_not_told_again():
    bench = Bench()
    for chunks in (400, 410, 390):
        bench.worked(chunks=chunks, seconds=4)
        assert await bench.published() == [measured.Measured(100, 1)]


async def test_another_finding_takes_the_place_of_old_ones():
    bench = Bench()
    bench.worked(chunks=400, seconds=4)
    await bench.published()
    bench.clock.advance(measuring.OLD_SECONDS + 1)
    bench.worked(chunks=800, seconds=4)
    assert await bench.published() == [measured.Measured(200, 1)]
