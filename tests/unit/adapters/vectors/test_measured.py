import pytest

from bloomweaver.adapters.vectors import measured, memory
from bloomweaver.domain import errors
from bloomweaver.ports import vectors as ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import vectors as contract


class Recorder:
    def __init__(self):
        self.seen = []

    def observe_store(self, backend, op, *, outcome, seconds):
        self.seen.append((backend, op, outcome, seconds))


class SlowVectors(memory.MemoryVectors):
    """Every upsert takes three seconds."""

    def __init__(self, time):
        super().__init__()
        self._time = time

    async def upsert(self, namespace, records):
        self._time.advance(3)
        return await super().upsert(namespace, records)


def measured_store() -> tuple[ports.Vectors, Recorder]:
    time, recorder = clocks.ManualClock(), Recorder()
    return measured.MeasuredVectors(SlowVectors(time), recorder, backend="memory", clock=time), recorder


class TestMeasured(contract.VectorsContract):
    @pytest.fixture
    def vectors(self):
        return measured_store()[0]


async def test_calls_are_timed():
    store, recorder = measured_store()
    await store.upsert(contract.NAMESPACE, contract.random_records(1))
    await store.query(contract.NAMESPACE, contract.unit(1), k=1)
    assert recorder.seen == [("memory", "upsert", "ok", 3.0), ("memory", "query", "ok", 0.0)]


async def test_a_failure_is_counted_by_its_reason():
    store, recorder = measured_store()
    with pytest.raises(errors.PermanentError):
        await store.upsert(contract.NAMESPACE, [contract.record("d", contract.unit(1) * float("nan"))])
    assert recorder.seen == [("memory", "upsert", "store_refused", 3.0)]
