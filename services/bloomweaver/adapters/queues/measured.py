"""Queues whose deliveries and depths are counted; `runtime.metrics.Metrics` is a `Recorder`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bloomweaver.domain.events import Hint
from bloomweaver.ports import queues


class Recorder(Protocol):
    """Where the numbers go."""

    def set_queue(self, queue: str, *, messages: Mapping[str, int], oldest_age_seconds: float | None) -> None: ...

    def count_receive(self, queue: str, outcome: str) -> None: ...


class MeasuredQueues:
    """Wraps queues. Gauges follow the calls of `depths`: whoever asks for depths keeps them fresh."""

    def __init__(self, inner: queues.Queues, recorder: Recorder) -> None:
        self._inner = inner
        self._recorder = recorder
        self._shown: set[str] = set()

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        await self._inner.send(queue, hints, delay_seconds=delay_seconds)

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        return await self._inner.receive(
            queue, limit=limit, visibility_seconds=visibility_seconds, wait_seconds=wait_seconds
        )

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        await self._inner.ack(queue, deliveries)
        for delivery in deliveries:
            self._recorder.count_receive(queue, "dead" if delivery.receives > queues.MAX_RECEIVES else "acked")

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        await self._inner.release(queue, deliveries, delay_seconds=delay_seconds)
        for _ in deliveries:
            self._recorder.count_receive(queue, "retried")

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        await self._inner.extend(queue, deliveries, visibility_seconds=visibility_seconds)

    async def depths(self) -> dict[str, queues.Depth]:
        found = await self._inner.depths()
        self._shown |= found.keys()
        for queue in self._shown:  # a queue that emptied is no longer listed, and has to be shown as empty
            depth = found.get(queue, queues.Depth())
            messages = {
                "visible": depth.visible,
                "in_flight": depth.in_flight,
                "delayed": depth.delayed,
                "dead": depth.dead,
            }
            self._recorder.set_queue(queue, messages=messages, oldest_age_seconds=depth.oldest_age_seconds)
        return found

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        return await self._inner.dead(queue, limit=limit)
