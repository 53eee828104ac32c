"""The fault-injecting ports: what they do to a call, and that they do nothing in a calm world."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from bloomweaver.adapters.blobs import memory as memory_blobs
from bloomweaver.adapters.queues import memory as memory_queues
from bloomweaver.adapters.vectors import memory as memory_vectors
from bloomweaver.domain import errors
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors
from bloomweaver.testing import chaos, faults, faulty_vectors, loop

HINT = Hint(TenantId("acme"), CollectionUid("c"), DocumentId("d"), 1)
RECORD = vectors.Record("a/1/p/0", "d", 1, 0, np.array([1.0, 0.0], np.float32), {})
OTHER = vectors.Record("a/1/p/1", "d", 1, 1, np.array([0.0, 1.0], np.float32), {})


class Scene:
    """A loop, its chaos and one process."""

    def __init__(self, **rates: Any) -> None:
        self.loop = loop.VirtualLoop(random.Random(1))
        self.chaos = chaos.Chaos(random.Random(1), chaos.Rates(**rates), self.loop)
        self.host = loop.Host("worker", loop=self.loop)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.loop.run_until_complete(work)
        finally:
            self.loop.close()

    def vectors(self, store: vectors.Vectors) -> faulty_vectors.FaultyVectors:
        return faulty_vectors.FaultyVectors(store, host=self.host, chaos=self.chaos)


async def found(store: vectors.Vectors) -> int:
    return len((await store.query("n", np.array([1.0, 0.0], np.float32), k=10)).matches)


def test_an_outage_refuses_before_anything_happens():
    scene = Scene()
    store = memory_blobs.MemoryBlobs(clock=loop.VirtualClock(scene.loop))
    scene.chaos.outages.append(chaos.Outage("blobs", 0.0, 60.0))
    blobs = faults.FaultyBlobs(store, host=scene.host, chaos=scene.chaos)

    with pytest.raises(errors.TransientError) as refused:
        scene.run(blobs.put("a/b", b"text"))

    assert refused.value.reason is Reason.BLOBS_UNAVAILABLE
    assert not store._held


def test_a_late_write_fails_for_its_caller_and_lands_all_the_same():
    scene, store = Scene(late_write=1.0, late_seconds=100.0), memory_vectors.MemoryVectors()

    async def act() -> tuple[int, int]:
        with pytest.raises(errors.TransientError):
            await scene.vectors(store).upsert("n", [RECORD])
        at_once = await found(store)
        await asyncio.sleep(200.0)
        return at_once, await found(store)

    assert scene.run(act()) == (0, 1)


def test_a_torn_write_leaves_the_first_half():
    scene, store = Scene(partial_write=1.0), memory_vectors.MemoryVectors()

    async def act() -> int:
        with pytest.raises(errors.TransientError):
            await scene.vectors(store).upsert("n", [RECORD, OTHER])
        return await found(store)

    assert scene.run(act()) == 1


def test_a_replica_lags_and_says_so_by_its_position():
    scene = Scene(lag_seconds=50.0)
    store = faulty_vectors.LaggingVectors(memory_vectors.MemoryVectors, replicas=1, chaos=scene.chaos)
    vector = np.array([1.0, 0.0], np.float32)

    async def act() -> tuple[int | None, int | None, int | None]:
        written = await store.upsert("n", [RECORD])
        before = (await store.query("n", vector, k=1)).position
        await asyncio.sleep(10_000.0)
        return written, before, (await store.query("n", vector, k=1)).position

    assert scene.run(act()) == (1, 0, 1)


def received(**rates: Any) -> int:
    scene = Scene(**rates)
    inner = memory_queues.MemoryQueues(clock=loop.VirtualClock(scene.loop))
    queue = faults.FaultyQueues(inner, host=scene.host, chaos=scene.chaos)

    async def act() -> int:
        await queue.send("update", [HINT])
        await asyncio.sleep(1_000.0)
        return len(await queue.receive("update", limit=10, visibility_seconds=30.0))

    number: int = scene.run(act())
    return number


def test_hints_are_lost_or_doubled_as_drawn():
    assert received() == 1
    assert received(hint_lost=1.0) == 0
    assert received(hint_doubled=1.0) == 2


def test_a_process_that_crashes_after_the_effect_leaves_the_effect():
    scene, store = Scene(), memory_vectors.MemoryVectors()

    async def act() -> int:
        with pytest.raises(loop.Killed):
            await scene.chaos.call(scene.host, "vectors", "upsert", dying(store, scene), mutates=True)
        return await found(store)

    assert scene.run(act()) == 1
    assert scene.host.alive is False


def dying(store: vectors.Vectors, scene: Scene) -> Callable[[], Coroutine[Any, Any, int | None]]:
    async def effect() -> int | None:
        position = await store.upsert("n", [RECORD])
        scene.host.kill()
        return position

    return effect


def test_a_frozen_process_makes_no_call_until_it_thaws():
    scene, store = Scene(freeze=1.0, freeze_seconds=(100.0, 100.0)), memory_vectors.MemoryVectors()

    async def act() -> float:
        await scene.vectors(store).upsert("n", [RECORD])
        return scene.loop.time()

    assert scene.run(act()) >= 100.0


def test_a_calm_world_changes_nothing():
    scene, store = Scene(crash=1.0, throttle=1.0, late_write=1.0), memory_vectors.MemoryVectors()
    scene.chaos.calm = True

    async def act() -> int:
        await scene.vectors(store).upsert("n", [RECORD])
        return await found(store)

    assert scene.run(act()) == 1
