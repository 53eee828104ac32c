"""The ledger on PostgreSQL: each method is one transaction, or one statement that reads.

Invariant: what a method returned for is durable and was decided under the rows' locks; nothing here holds state but the
accepts that wait for their commit.
"""

from collections.abc import Collection as Some
from collections.abc import Sequence

from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.adapters.ledger import (
    postgresql_accepting,
    postgresql_building,
    postgresql_gathering,
    postgresql_reading,
)
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Revision, Row, State, Version
from bloomweaver.domain.events import Accepted, Change, Rejected, Step, StoredEvent
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger


class PostgresqlLedger:
    """See `ports.ledger`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine
        self._accepts = postgresql_gathering.Gathering(engine)

    async def accept(self, changes: Sequence[Change]) -> list[Accepted | Rejected]:
        """See the port. One commit for all, shared with other callers'."""
        return await self._accepts.accept(changes)

    async def event(self, uid: CollectionUid, *, source: str, event_id: str) -> StoredEvent | None:
        """See the port."""
        return await postgresql_reading.event(self._engine, uid, source, event_id)

    async def look(self, keys: Sequence[DocumentKey]) -> list[ledger.Look | None]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_reading.look(tx, keys), reads=True)

    async def needed(self, keys: Sequence[DocumentKey]) -> list[tuple[Step, ...]]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_reading.needed(tx, keys), reads=True)

    async def rows(self, keys: Sequence[DocumentKey]) -> list[Row | None]:
        """See the port."""
        return await postgresql_reading.rows_of(self._engine, keys)

    async def documents(self, listing: ledger.Listing) -> list[tuple[Row, Revision]]:
        """See the port."""
        return await postgresql_reading.listed(self._engine, listing)

    async def intend(self, intents: Sequence[ledger.Intent]) -> list[ledger.Intended]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_building.intend(tx, intents))

    async def settle(self, settlements: Sequence[ledger.Settlement]) -> list[ledger.Settled]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_building.settle(tx, settlements))

    async def postpone(self, keys: Sequence[DocumentKey], *, seq: int, reason: Reason, delay_seconds: float) -> None:
        """See the port."""
        await self._engine.run(
            lambda tx: postgresql_building.postpone(tx, keys, seq=seq, reason=reason, delay_seconds=delay_seconds)
        )

    async def fail(self, failure: ledger.Failure) -> float | None:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_building.fail(tx, failure))

    async def retry(self, key: DocumentKey, *, actor: str, request_id: str) -> Accepted | None:
        """See the port."""
        return await self._engine.run(
            lambda tx: postgresql_accepting.retry(tx, key, actor=actor, request_id=request_id)
        )

    async def removed(self, versions: Sequence[Version]) -> None:
        """See the port."""
        await self._engine.run(lambda tx: postgresql_building.removed(tx, versions))

    async def snapshot(self, uids: Some[CollectionUid]) -> ledger.Snapshot:
        """See the port."""
        return await postgresql_reading.snapshot(self._engine, uids)

    async def visible(
        self, uid: CollectionUid, doc_ids: Sequence[str], *, snapshot: ledger.Snapshot
    ) -> ledger.Visibility:
        """See the port."""
        return await postgresql_reading.visible(self._engine, uid, doc_ids, snapshot)

    async def shown(self, refs: Sequence[ledger.ChunkRef]) -> list[ledger.ShownChunk | None]:
        """See the port."""
        return await postgresql_reading.shown(self._engine, refs)

    async def chunks(self, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
        """See the port."""
        return await postgresql_reading.chunks(self._engine, key, seq=seq, pipe=pipe)

    async def counts(self, tenant: TenantId, uid: CollectionUid | None = None) -> dict[State, int]:
        """See the port."""
        return await postgresql_reading.counts(self._engine, tenant, uid)

    async def oldest_pending(self, tenant: TenantId, uid: CollectionUid | None = None) -> float | None:
        """See the port."""
        return await postgresql_reading.oldest_pending(self._engine, tenant, uid)

    async def batch_counts(self, tenant: TenantId, batch_id: str, uid: CollectionUid | None = None) -> dict[State, int]:
        """See the port."""
        return await postgresql_reading.batch_counts(self._engine, tenant, batch_id, uid)
