from bloomweaver.adapters.queues import measured, memory
from bloomweaver.ports import queues as ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import queues as contract


class Recorder:
    def __init__(self):
        self.depths, self.receives = {}, []

    def set_queue(self, queue, *, messages, oldest_age_seconds):
        self.depths[queue] = (dict(messages), oldest_age_seconds)

    def count_receive(self, queue, outcome):
        self.receives.append((queue, outcome))


async def test_every_delivery_is_counted_by_how_it_ended():
    time, recorder = clocks.ManualClock(), Recorder()
    store = measured.MeasuredQueues(memory.MemoryQueues(clock=time), recorder)
    await store.send("create", contract.hints(2))
    first, second = await contract.take(store, queue="create")
    await store.ack("create", [first])
    await store.release("create", [second])
    for _ in range(ports.MAX_RECEIVES):
        await store.extend("create", await contract.take(store, queue="create"), visibility_seconds=1.0)
        time.advance(2)
    await store.ack("create", await store.dead("create", limit=1))
    assert recorder.receives == [("create", "acked"), ("create", "retried"), ("create", "dead")]


async def test_a_queue_that_emptied_is_shown_as_empty():
    recorder = Recorder()
    store = measured.MeasuredQueues(memory.MemoryQueues(clock=clocks.ManualClock()), recorder)
    await store.send("create", contract.hints(1))
    await store.depths()
    assert recorder.depths["create"] == ({"visible": 1, "in_flight": 0, "delayed": 0, "dead": 0}, 0.0)
    await store.ack("create", await contract.take(store, queue="create"))
    assert await store.depths() == {}
    assert recorder.depths["create"][0]["visible"] == 0
