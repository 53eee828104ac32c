import pytest

from bloomweaver.adapters.blobs import memory
from bloomweaver.controller import measurements, scaling
from bloomweaver.domain.measured import Measured, encode, key_of
from bloomweaver.testing import clocks

SPACE = "00c0ffee00c0ffee"


@pytest.fixture
def clock() -> clocks.ManualClock:
    return clocks.ManualClock()


@pytest.fixture
def blobs(clock: clocks.ManualClock) -> memory.MemoryBlobs:
    return memory.MemoryBlobs(clock=clock)


async def test_the_newest_finding_of_a_space_sizes_its_pods(blobs: memory.MemoryBlobs, clock: clocks.ManualClock):
    board = scaling.Board(clock=clock)
    read = measurements.Measurements(blobs, board, deployment="here")
    for number, speed in enumerate((100, 400)):
        await blobs.put(key_of("here", SPACE, nonce=f"n{number}"), encode(Measured(speed, 3)))
        clock.advance(5)
    await read.read()
    assert read.found() == {SPACE: Measured(400, 3)}
    assert board.per_pod(f"change:{SPACE}", drain_seconds=10) == 4000


async def test_what_another_deployment_or_release_wrote_is_passed_over(blobs: memory.MemoryBlobs):
    read = measurements.Measurements(blobs, scaling.Board(clock=clocks.ManualClock()), deployment="here")
    await blobs.put(key_of("there", SPACE, nonce="a"), encode(Measured(1, 1)))
    await blobs.put(key_of("here", SPACE, nonce="b"), b'{"later": true}')
    await read.read()
    assert read.found() == {}


async def test_a_finding_that_was_superseded_meanwhile_leaves_what_was_known(blobs: memory.MemoryBlobs):
    class Late(memory.MemoryBlobs):
        """Lists what is gone by the time it is asked for."""

        async def get(self, key: str) -> bytes:
            await self.delete([key])
            return await super().get(key)

    late = Late(clock=clocks.ManualClock())
    await late.put(key_of("here", SPACE, nonce="a"), encode(Measured(1, 1)))
    read = measurements.Measurements(late, scaling.Board(clock=clocks.ManualClock()), deployment="here")
    await read.read()
    assert read.found() == {}
