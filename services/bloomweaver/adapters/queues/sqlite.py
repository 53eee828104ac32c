"""Queues in the ledger's SQLite file. A send in this process wakes receivers at once; polling finds those of others.

Invariant: a hint is in one row until it is acked, and every change of that row is one transaction, so a crash between
any two calls loses nothing and at worst delivers again. Times are the wall clock's, which all processes here share.
"""

import asyncio
import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence

from bloomweaver.adapters.engines import speaking
from bloomweaver.adapters.engines.sqlite import engine as engines
from bloomweaver.adapters.queues import wire
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues

POLL_SECONDS = 0.25
DEAD_AGAIN_SECONDS = 60.0

_Row = tuple[int, str, int]

_SEND = "INSERT INTO hint (queue, due, first_due, message) VALUES (?, ?, ?, ?)"
_NEXT = "SELECT min(due) FROM hint WHERE queue = ? AND dead = ?"
_LEASE = (
    "UPDATE hint SET due = ?, leased = 1, receives = receives + 1 WHERE id IN "
    "(SELECT id FROM hint WHERE queue = ? AND dead = 0 AND due <= ? ORDER BY due LIMIT ?) "
    "RETURNING id, message, receives"
)
_BURY = "UPDATE hint SET dead = 1, leased = 0, due = ? WHERE id = ?"
_EXHUME = (
    "UPDATE hint SET due = ? WHERE id IN "
    "(SELECT id FROM hint WHERE queue = ? AND dead = 1 AND due <= ? ORDER BY due LIMIT ?) "
    "RETURNING id, message, receives"
)
_ACK = "DELETE FROM hint WHERE id = ? AND receives = ?"
_MOVE = "UPDATE hint SET due = ?, leased = ? WHERE id = ? AND receives = ?"
_DEPTHS = (
    "SELECT queue, coalesce(sum(NOT dead AND due <= :now), 0), coalesce(sum(NOT dead AND due > :now AND leased), 0), "
    "coalesce(sum(NOT dead AND due > :now AND NOT leased), 0), sum(dead), "
    "min(CASE WHEN NOT dead AND due <= :now THEN first_due END) FROM hint GROUP BY queue"
)


class SqliteQueues:
    """See the module's docstring. Make one per process: it is what its receivers are woken by."""

    def __init__(self, engine: engines.Engine) -> None:
        self._engine = engine
        self._sent: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._busy: set[str] = set()

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        if not hints:
            return
        due = self._engine.clock.now() + delay_seconds
        rows = [(queue, due, due, wire.encode(hint)) for hint in hints]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany(_SEND, rows)

        with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
            await self._engine.write(insert)
        self._wake(queue)

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_seconds
        while True:
            sent = self._sent[queue]
            taken, pause = await self._take(queue, limit=limit, visibility_seconds=visibility_seconds)
            left = give_up - loop.time()
            if taken or left <= 0:
                return taken
            try:
                async with asyncio.timeout(min(left, pause)):
                    await sent.wait()
            except TimeoutError:
                continue

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        receipts = list(_receipts(deliveries))

        def delete(connection: sqlite3.Connection) -> None:
            connection.executemany(_ACK, receipts)

        if receipts:
            with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
                await self._engine.write(delete)

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        await self._move(deliveries, seconds=delay_seconds, leased=False)
        self._wake(queue)

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        await self._move(deliveries, seconds=visibility_seconds, leased=True)

    async def depths(self) -> dict[str, queues.Depth]:
        now = self._engine.clock.now()

        def count(connection: sqlite3.Connection) -> list[tuple[str, int, int, int, int, float | None]]:
            return connection.execute(_DEPTHS, {"now": now}).fetchall()

        with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
            rows = await self._engine.read(count)
        return {
            name: queues.Depth(visible, leased, delayed, dead, 0.0 if oldest is None else now - oldest)
            for name, visible, leased, delayed, dead, oldest in rows
        }

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        now = self._engine.clock.now()

        def exhume(connection: sqlite3.Connection) -> list[_Row]:
            return connection.execute(_EXHUME, (now + DEAD_AGAIN_SECONDS, queue, now, limit)).fetchall()

        with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
            due = await self._next_due(queue, dead=True)
            rows = await self._engine.write(exhume) if due is not None and due <= now else []
        return _deliveries(rows)

    async def _take(self, queue: str, *, limit: int, visibility_seconds: float) -> tuple[list[queues.Delivery], float]:
        """What is visible now, else how long to pause.

        An idle queue is read before it is written to, and costs no transaction; a busy one costs no reading.
        """
        with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
            now = self._engine.clock.now()
            if queue not in self._busy:
                due = await self._next_due(queue)
                if due is None or due > now:
                    return [], POLL_SECONDS if due is None else min(POLL_SECONDS, due - now)

            def lease(connection: sqlite3.Connection) -> list[_Row]:
                return _lease(connection, queue, limit=limit, now=now, until=now + visibility_seconds)

            self._busy.discard(queue)
            rows = await self._engine.write(lease)
            if len(rows) == limit:
                self._busy.add(queue)
            return _deliveries(rows), 0.0

    async def _next_due(self, queue: str, *, dead: bool = False) -> float | None:
        def first(connection: sqlite3.Connection) -> float | None:
            due: float | None = connection.execute(_NEXT, (queue, dead)).fetchone()[0]
            return due

        return await self._engine.read(first)

    async def _move(self, deliveries: Sequence[queues.Delivery], *, seconds: float, leased: bool) -> None:
        due = self._engine.clock.now() + seconds
        rows = [(due, leased, number, receives) for number, receives in _receipts(deliveries)]

        def update(connection: sqlite3.Connection) -> None:
            connection.executemany(_MOVE, rows)

        if rows:
            with speaking.unavailable_as(Reason.QUEUE_UNAVAILABLE):
                await self._engine.write(update)

    def _wake(self, queue: str) -> None:
        self._busy.add(queue)
        self._sent.pop(queue, asyncio.Event()).set()


def _lease(connection: sqlite3.Connection, queue: str, *, limit: int, now: float, until: float) -> list[_Row]:
    """Up to `limit` hints; what was received too often goes to the dead letters on the way."""
    taken: list[_Row] = []
    while len(taken) < limit:
        rows = connection.execute(_LEASE, (until, queue, now, limit - len(taken))).fetchall()
        taken += [row for row in rows if row[2] <= queues.MAX_RECEIVES]
        worn = [(now, row[0]) for row in rows if row[2] > queues.MAX_RECEIVES]
        if not worn:
            break
        connection.executemany(_BURY, worn)
    return taken


def _deliveries(rows: Sequence[_Row]) -> list[queues.Delivery]:
    """Oldest first. A message that this release cannot read is left for one that can, or for the dead letters."""
    read = []
    for number, message, receives in sorted(rows):
        with contextlib.suppress(wire.WireError):
            read.append(queues.Delivery(wire.decode(message), f"{number}.{receives}", receives))
    return read


def _receipts(deliveries: Sequence[queues.Delivery]) -> Iterator[tuple[int, int]]:
    for delivery in deliveries:
        number, _, receives = delivery.receipt.partition(".")
        yield int(number), int(receives)
