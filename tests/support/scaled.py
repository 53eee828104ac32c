"""Queues whose seconds are shorter, so that the contract's minutes pass quickly on a server that has its own clock.

Only how long to wait for a hint is left as it is: it is the caller's time, not the hint's.
"""

from collections.abc import Sequence

from bloomweaver.domain.events import Hint
from bloomweaver.ports import queues


class ScaledQueues:
    """scale: what becomes of one second."""

    def __init__(self, inner: queues.Queues, *, scale: float) -> None:
        self._inner = inner
        self._scale = scale

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        await self._inner.send(queue, hints, delay_seconds=delay_seconds * self._scale)

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        visibility_seconds *= self._scale
        return await self._inner.receive(
            queue, limit=limit, visibility_seconds=visibility_seconds, wait_seconds=wait_seconds
        )

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        await self._inner.ack(queue, deliveries)

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        await self._inner.release(queue, deliveries, delay_seconds=delay_seconds * self._scale)

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        await self._inner.extend(queue, deliveries, visibility_seconds=visibility_seconds * self._scale)

    async def depths(self) -> dict[str, queues.Depth]:
        return await self._inner.depths()

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        return await self._inner.dead(queue, limit=limit)
