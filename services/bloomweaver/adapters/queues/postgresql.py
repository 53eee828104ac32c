"""Queues in PostgreSQL: `FOR UPDATE SKIP LOCKED` hands hints out, `NOTIFY` wakes receivers in other processes.

Invariant: a hint is in one row until it is acked, and every call is one statement, so a crash between any two calls
loses nothing and at worst delivers again. Times are the database's. A notification only saves waiting: it is sent
beside the hint, not with it, because PostgreSQL lets transactions that notify commit one after another.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

from bloomweaver.adapters.engines import speaking
from bloomweaver.adapters.engines.postgresql import engine as engines
from bloomweaver.adapters.queues import postgresql_sending as sending
from bloomweaver.adapters.queues import wire
from bloomweaver.domain import errors
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues

POLL_SECONDS = 2.0
"""So long at most a receiver trusts that it would have been notified."""

DEAD_AGAIN_SECONDS = 60.0

T = TypeVar("T")

_NOW = sending.NOW
_TAKE = (
    "WITH next AS MATERIALIZED (SELECT id FROM hint WHERE queue = %(queue)s AND NOT dead AND due <= {now}"
    " ORDER BY due LIMIT %(limit)s FOR UPDATE SKIP LOCKED),"
    " taken AS (UPDATE hint SET receives = receives + 1, leased = receives < %(most)s, dead = receives >= %(most)s,"
    " due = {now} + CASE WHEN receives < %(most)s THEN %(visibility)s::float8 ELSE 0 END"
    " FROM next WHERE hint.id = next.id RETURNING hint.id, message, receives, dead)"
    " SELECT id, message, receives, dead, NULL::float8 FROM taken"
    " UNION ALL SELECT NULL, NULL, NULL, NULL, min(due) - {now} FROM hint"
    " WHERE queue = %(queue)s AND NOT dead AND due > {now}"
)
_EXHUME = (
    "WITH next AS MATERIALIZED (SELECT id FROM hint WHERE queue = %(queue)s AND dead AND due <= {now}"
    " ORDER BY due LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
    " UPDATE hint SET due = {now} + %(again)s::float8 FROM next WHERE hint.id = next.id"
    " RETURNING hint.id, message, receives"
)
_RECEIPTS = "unnest(%(ids)s::bigint[], %(receives)s::integer[]) AS receipt (id, receives)"
_ACK = f"DELETE FROM hint USING {_RECEIPTS} WHERE hint.id = receipt.id AND hint.receives = receipt.receives RETURNING 1"
_MOVE = (
    f"UPDATE hint SET due = {{now}} + %(seconds)s::float8, leased = %(leased)s FROM {_RECEIPTS}"
    " WHERE hint.id = receipt.id AND hint.receives = receipt.receives RETURNING 1"
)
# OFFSET 0 keeps the time from being worked out anew for every row.
_DEPTHS = (
    "SELECT queue, count(*) FILTER (WHERE NOT dead AND due <= now),"
    " count(*) FILTER (WHERE NOT dead AND due > now AND leased),"
    " count(*) FILTER (WHERE NOT dead AND due > now AND NOT leased), count(*) FILTER (WHERE dead),"
    " coalesce(max(now - first_due) FILTER (WHERE NOT dead AND due <= now), 0)"
    " FROM hint, (SELECT {now} AS now OFFSET 0) clock GROUP BY queue"
)


class PostgresqlQueues:
    """See the module's docstring. Make one per process: its receivers share one listening connection. Close it."""

    def __init__(self, engine: engines.Engine, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._engine = engine
        self._poll_seconds = poll_seconds
        self._channel = f"hints.{engine.address.schema}"[:63]
        self._sender = sending.Sender(engine, channel=self._channel)
        self._news: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._listening: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Stops listening; hints that `send` was given are stored first."""
        await self._sender.aclose()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        if not hints:
            return
        with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
            await self._sender.send(queue, [wire.encode(hint) for hint in hints], delay_seconds=delay_seconds)
        self._wake(queue)

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_seconds
        while True:
            news = self._news[queue]
            taken, pause = await self._take(queue, limit=limit, visibility_seconds=visibility_seconds)
            left = give_up - loop.time()
            if taken or left <= 0:
                return taken
            self._listen()
            try:
                async with asyncio.timeout(min(left, pause)):
                    await news.wait()
            except TimeoutError:
                continue

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        if deliveries:
            await self._ask(_ACK, **_receipts(deliveries))

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        if deliveries:
            await self._ask(_MOVE, seconds=delay_seconds, leased=False, **_receipts(deliveries))
            self._wake(queue)
            self._sender.notify(queue)

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        if deliveries:
            await self._ask(_MOVE, seconds=visibility_seconds, leased=True, **_receipts(deliveries))

    async def depths(self) -> dict[str, queues.Depth]:
        rows = await self._ask(_DEPTHS)
        return {
            name: queues.Depth(visible, leased, delayed, dead, float(oldest))
            for name, visible, leased, delayed, dead, oldest in rows
        }

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        rows = await self._ask(_EXHUME, queue=queue, limit=limit, again=DEAD_AGAIN_SECONDS)
        return _deliveries((number, message, receives) for number, message, receives in rows)

    async def _take(self, queue: str, *, limit: int, visibility_seconds: float) -> tuple[list[queues.Delivery], float]:
        """What is visible now, else how long to pause. A caller that gives up half-way leaves nothing leased."""
        taking = asyncio.ensure_future(self._lease(queue, limit=limit, visibility_seconds=visibility_seconds))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with contextlib.suppress(errors.TransientError):
                taken, _ = await taking
                await self.release(queue, taken)
            raise

    async def _lease(self, queue: str, *, limit: int, visibility_seconds: float) -> tuple[list[queues.Delivery], float]:
        """What was received too often goes to the dead letters on the way."""
        taken: list[tuple[int, str, int]] = []
        while True:
            rows = await self._ask(
                _TAKE, queue=queue, limit=limit - len(taken), visibility=visibility_seconds, most=queues.MAX_RECEIVES
            )
            *found, (_, _, _, _, until_next) = rows
            taken += [(number, message, receives) for number, message, receives, dead, _ in found if not dead]
            if len(taken) == limit or not any(row[3] for row in found):
                break
        poll = self._poll_seconds
        pause = poll if until_next is None else min(poll, max(until_next, 0.0))
        return _deliveries(taken), pause

    async def _ask(self, statement: str, **values: object) -> list[engines.Record]:
        with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
            now = self._engine.told_time
            return await self._engine.fetch(statement.format(now=_NOW), {**values, "now": now})

    def _listen(self) -> None:
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._hear(), name="queue-listener")

    async def _hear(self) -> None:
        async for queue in self._engine.listen(self._channel):
            for name in [queue] if queue else list(self._news):
                self._wake(name)

    def _wake(self, queue: str) -> None:
        self._news.pop(queue, asyncio.Event()).set()


def _deliveries(rows: Sequence[tuple[int, str, int]] | Iterator[tuple[int, str, int]]) -> list[queues.Delivery]:
    """Oldest first. A message that this release cannot read is left for one that can, or for the dead letters."""
    read = []
    for number, message, receives in sorted(rows):
        with contextlib.suppress(wire.WireError):
            read.append(queues.Delivery(wire.decode(message), f"{number}.{receives}", receives))
    return read


def _receipts(deliveries: Sequence[queues.Delivery]) -> dict[str, list[int]]:
    parts = sorted(tuple(map(int, delivery.receipt.split("."))) for delivery in deliveries)
    return {"ids": [number for number, _ in parts], "receives": [receives for _, receives in parts]}
