"""The ledger on SQLite: each method is one function of a connection, run by the engine in one transaction.

Invariant: what `write` returns is durable and decided under the database's write lock; nothing here holds state.
"""

from collections.abc import Collection as Some
from collections.abc import Sequence

from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.ledger import sqlite_accepting, sqlite_building, sqlite_reading
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Revision, Row, State, Version
from bloomweaver.domain.events import Accepted, Change, Rejected, Step, StoredEvent
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger


class SqliteLedger:
    """See `ports.ledger`."""

    def __init__(self, engine: engine.SharingEngine) -> None:
        self._engine = engine
        self._now = engine.clock.now

    async def accept(self, changes: Sequence[Change]) -> list[Accepted | Rejected]:
        """See the port. One commit for all, shared with other callers'."""
        return await self._engine.write_item(sqlite_accepting.accept, sqlite_accepting.Offer(changes, self._now()))

    async def event(self, uid: CollectionUid, *, source: str, event_id: str) -> StoredEvent | None:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.event(connection, uid, source, event_id))

    async def look(self, keys: Sequence[DocumentKey]) -> list[ledger.Look | None]:
        """See the port."""
        now = self._now()
        return await self._engine.read(
            lambda connection: [sqlite_reading.look(connection, key, now=now) for key in keys]
        )

    async def needed(self, keys: Sequence[DocumentKey]) -> list[tuple[Step, ...]]:
        """See the port."""
        return await self._engine.read(lambda connection: [sqlite_reading.needed(connection, key) for key in keys])

    async def rows(self, keys: Sequence[DocumentKey]) -> list[Row | None]:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.rows_of(connection, keys))

    async def documents(self, listing: ledger.Listing) -> list[tuple[Row, Revision]]:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.listed(connection, listing))

    async def intend(self, intents: Sequence[ledger.Intent]) -> list[ledger.Intended]:
        """See the port."""
        now = self._now()
        return await self._engine.write(
            lambda connection: [sqlite_building.intend(connection, intent, now=now) for intent in intents]
        )

    async def settle(self, settlements: Sequence[ledger.Settlement]) -> list[ledger.Settled]:
        """See the port."""
        now = self._now()
        return await self._engine.write(
            lambda connection: [sqlite_building.settle(connection, settled, now=now) for settled in settlements]
        )

    async def postpone(self, keys: Sequence[DocumentKey], *, seq: int, reason: Reason, delay_seconds: float) -> None:
        """See the port."""
        now = self._now()
        await self._engine.write(
            lambda connection: sqlite_building.postpone(
                connection, keys, seq=seq, reason=reason, delay_seconds=delay_seconds, now=now
            )
        )

    async def fail(self, failure: ledger.Failure) -> float | None:
        """See the port."""
        now = self._now()
        return await self._engine.write(lambda connection: sqlite_building.fail(connection, failure, now=now))

    async def retry(self, key: DocumentKey, *, actor: str, request_id: str) -> Accepted | None:
        """See the port."""
        now = self._now()
        return await self._engine.write(
            lambda connection: sqlite_accepting.retry(connection, key, actor=actor, request_id=request_id, now=now)
        )

    async def removed(self, versions: Sequence[Version]) -> None:
        """See the port."""
        now = self._now()
        await self._engine.write(lambda connection: sqlite_building.removed(connection, versions, now=now))

    async def snapshot(self, uids: Some[CollectionUid]) -> ledger.Snapshot:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.snapshot(connection, uids))

    async def visible(
        self, uid: CollectionUid, doc_ids: Sequence[str], *, snapshot: ledger.Snapshot
    ) -> ledger.Visibility:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.visible(connection, uid, doc_ids, snapshot))

    async def shown(self, refs: Sequence[ledger.ChunkRef]) -> list[ledger.ShownChunk | None]:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.shown(connection, refs))

    async def chunks(self, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.chunks(connection, key, seq=seq, pipe=pipe))

    async def counts(self, tenant: TenantId, uid: CollectionUid | None = None) -> dict[State, int]:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.counts(connection, tenant, uid))

    async def oldest_pending(self, tenant: TenantId, uid: CollectionUid | None = None) -> float | None:
        """See the port."""
        return await self._engine.read(lambda connection: sqlite_reading.oldest_pending(connection, tenant, uid))

    async def batch_counts(self, tenant: TenantId, batch_id: str, uid: CollectionUid | None = None) -> dict[State, int]:
        """See the port."""
        return await self._engine.read(
            lambda connection: sqlite_reading.batch_counts(connection, tenant, batch_id, uid)
        )
