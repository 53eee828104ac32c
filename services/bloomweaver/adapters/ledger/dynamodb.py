"""The ledger on DynamoDB: each method is one or a few conditional transactions, decided by `domain.steps`.

Invariant: what a change says is durable when it returns, and was decided over exactly what the table holds; nothing
here holds state but names that every read checks again.
"""

from collections.abc import Collection as Some
from collections.abc import Sequence

from bloomweaver.adapters.engines.dynamodb import engine, items, keys, transactions
from bloomweaver.adapters.ledger import dynamodb_accepting, dynamodb_building, dynamodb_reading
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Revision, Row, State, Version
from bloomweaver.domain.events import Accepted, Change, Rejected, Step, StoredEvent
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger


class DynamodbLedger:
    """See `ports.ledger`."""

    def __init__(self, opened: engine.Engine) -> None:
        self._engine = opened
        self._now = opened.now
        self._accepting = dynamodb_accepting.Accepting(opened)

    async def accept(self, changes: Sequence[Change]) -> list[Accepted | Rejected]:
        """See the port."""
        return await self._accepting.accept(changes, now=self._now())

    async def event(self, uid: CollectionUid, *, source: str, event_id: str) -> StoredEvent | None:
        """See the port."""
        now = self._now()
        collection, found = await self._engine.get([keys.collection(uid), keys.event(uid, source, event_id)])
        if collection is None or items.collection_of(collection) is None:
            return None
        return items.event_of(uid, found, now=now)

    async def look(self, names: Sequence[DocumentKey]) -> list[ledger.Look | None]:
        """See the port."""
        return await dynamodb_reading.look(self._engine, names, now=self._now())

    async def needed(self, names: Sequence[DocumentKey]) -> list[tuple[Step, ...]]:
        """See the port."""
        return await dynamodb_reading.needed(self._engine, names)

    async def rows(self, names: Sequence[DocumentKey]) -> list[Row | None]:
        """See the port."""
        return await dynamodb_reading.rows_of(self._engine, names)

    async def documents(self, listing: ledger.Listing) -> list[tuple[Row, Revision]]:
        """See the port."""
        return await dynamodb_reading.listed(self._engine, listing)

    async def intend(self, intents: Sequence[ledger.Intent]) -> list[ledger.Intended]:
        """See the port."""
        now = self._now()
        return await self._engine.together([dynamodb_building.intend(self._engine, one, now=now) for one in intents])

    async def settle(self, settlements: Sequence[ledger.Settlement]) -> list[ledger.Settled]:
        """See the port."""
        now = self._now()
        return await self._engine.together(
            [dynamodb_building.settle(self._engine, one, now=now) for one in settlements]
        )

    async def postpone(self, names: Sequence[DocumentKey], *, seq: int, reason: Reason, delay_seconds: float) -> None:
        """See the port."""
        now = self._now()
        await self._engine.together(
            [
                transactions.change(
                    self._engine,
                    key,
                    lambda held: dynamodb_building.postpone(
                        held, seq=seq, reason=reason, delay_seconds=delay_seconds, now=now
                    ),
                    absent=None,
                )
                for key in dict.fromkeys(names)
            ]
        )

    async def fail(self, failure: ledger.Failure) -> float | None:
        """See the port."""
        now = self._now()
        return await transactions.change(
            self._engine, failure.key, lambda held: dynamodb_building.fail(held, failure, now=now), absent=None
        )

    async def retry(self, key: DocumentKey, *, actor: str, request_id: str) -> Accepted | None:
        """See the port."""
        now = self._now()
        return await transactions.change(
            self._engine,
            key,
            lambda held: dynamodb_accepting.retry(held, actor=actor, request_id=request_id, now=now),
            absent=None,
        )

    async def removed(self, versions: Sequence[Version]) -> None:
        """See the port."""
        now = self._now()
        await self._engine.together(
            [self._removed(key, of, now=now) for key, of in dynamodb_building.by_document(versions).items()]
        )

    async def _removed(self, key: DocumentKey, versions: Sequence[Version], *, now: float) -> None:
        await transactions.change(
            self._engine, key, lambda held: dynamodb_building.removed(held, versions, now=now), absent=None
        )

    async def snapshot(self, uids: Some[CollectionUid]) -> ledger.Snapshot:
        """See the port."""
        return await dynamodb_reading.snapshot(self._engine, uids)

    async def visible(
        self, uid: CollectionUid, doc_ids: Sequence[str], *, snapshot: ledger.Snapshot
    ) -> ledger.Visibility:
        """See the port."""
        return await dynamodb_reading.visible(self._engine, uid, doc_ids, snapshot)

    async def shown(self, refs: Sequence[ledger.ChunkRef]) -> list[ledger.ShownChunk | None]:
        """See the port."""
        return await dynamodb_reading.shown(self._engine, refs)

    async def chunks(self, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
        """See the port."""
        return await dynamodb_reading.chunks(self._engine, key, seq=seq, pipe=pipe)

    async def counts(self, tenant: TenantId, uid: CollectionUid | None = None) -> dict[State, int]:
        """See the port."""
        return await dynamodb_reading.counts(self._engine, tenant, uid)

    async def oldest_pending(self, tenant: TenantId, uid: CollectionUid | None = None) -> float | None:
        """See the port."""
        return await dynamodb_reading.oldest_pending(self._engine, tenant, uid)

    async def batch_counts(self, tenant: TenantId, batch_id: str, uid: CollectionUid | None = None) -> dict[State, int]:
        """See the port."""
        return await dynamodb_reading.batch_counts(self._engine, tenant, batch_id, uid, now=self._now())
