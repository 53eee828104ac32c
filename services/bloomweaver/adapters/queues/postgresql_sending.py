"""Sends of one process, gathered: what arrives while a statement is under way shares the next one, and its commit.

Invariant: `send` returns after the commit that holds its hints. Notifications follow, one statement of them at a time,
each queue named once; one that is lost costs a receiver its polling interval.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from bloomweaver.adapters.engines.postgresql import arrays
from bloomweaver.adapters.engines.postgresql import engine as engines
from bloomweaver.domain import errors

NOW = "coalesce(%(now)s::float8, date_part('epoch', statement_timestamp()))"
BATCH_HINTS = 1000

_SEND = (
    f"INSERT INTO hint (queue, due, first_due, message) SELECT queue, {NOW} + delay, {NOW} + delay, message"
    " FROM unnest(%(queues)s::text[], %(delays)s::float8[], %(messages)s::text[]) AS sent (queue, delay, message)"
    " RETURNING 1"
)
_NOTIFY = "SELECT pg_notify(%(channel)s, queue) FROM unnest(%(queues)s::text[]) AS news (queue)"


@dataclass(frozen=True, slots=True)
class _Sent:
    queue: str
    messages: Sequence[str]
    delay_seconds: float
    stored: asyncio.Future[None]


class Sender:
    """See the module's docstring."""

    def __init__(self, engine: engines.Engine, *, channel: str) -> None:
        self._engine = engine
        self._channel = channel
        self._waiting: list[_Sent] = []
        self._news: set[str] = set()
        self._storing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """What was given is stored, and told, first."""
        for task in (self._storing, self._telling):
            if task is not None:
                await asyncio.wait([task])

    async def send(self, queue: str, messages: Sequence[str], *, delay_seconds: float) -> None:
        """Durable when it returns."""
        sent = _Sent(queue, messages, delay_seconds, asyncio.get_running_loop().create_future())
        self._waiting.append(sent)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store(), name="queue-sender")
        await sent.stored
        if delay_seconds <= 0:
            self.notify(queue)

    def notify(self, queue: str) -> None:
        """Soon, without waiting for it."""
        self._news.add(queue)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="queue-notifier")

    async def _store(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._insert(batch)
            except BaseException as error:  # whatever it is, those who wait for it have to hear of it
                _resolve(batch, error)
                if not isinstance(error, errors.BloomWeaverError):
                    raise
            else:
                _resolve(batch, None)

    def _next_batch(self) -> list[_Sent]:
        size, count = 0, 0
        for sent in self._waiting:
            size += len(sent.messages)
            if count and size > BATCH_HINTS:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _insert(self, batch: Sequence[_Sent]) -> None:
        rows = [(sent.queue, sent.delay_seconds, message) for sent in batch for message in sent.messages]
        names, delays, messages = zip(*rows, strict=True)
        values = {"queues": arrays.texts(names), "delays": arrays.numbers(delays), "messages": arrays.texts(messages)}
        await self._engine.fetch(_SEND, {**values, "now": self._engine.told_time})

    async def _tell(self) -> None:
        while self._news:
            names, self._news = sorted(self._news), set()
            with contextlib.suppress(errors.TransientError):  # receivers look for themselves before long
                await self._engine.fetch(_NOTIFY, {"channel": self._channel, "queues": names})


def _resolve(batch: Sequence[_Sent], error: BaseException | None) -> None:
    for sent in batch:
        if sent.stored.done():
            continue
        if error is None:
            sent.stored.set_result(None)
        else:
            sent.stored.set_exception(error)
