"""The history on DynamoDB: reads what the ledger's transactions wrote beside their effects."""

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, transactions
from bloomweaver.domain.documents import DocumentKey, Row, State
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history


class DynamodbHistory:
    """See `ports.history`."""

    def __init__(self, opened: engine.Engine) -> None:
        self._engine = opened
        self._now = opened.now

    async def timeline(self, key: DocumentKey) -> list[history.TimelineStep]:
        """See the port."""
        since = self._now() - documents.STEP_KEPT_SECONDS
        collection, row = await self._engine.get([keys.collection(key.collection_uid), keys.row(key)])
        if row is None or collection is None or items.collection_of(collection) is None:
            return []
        told = [items.step_of(item) for item in await self._engine.all(keys.document(key), begins=keys.STEP)]
        return [step for _, step in sorted(told, key=lambda one: one[0]) if step.at >= since]

    async def note(self, key: DocumentKey, step: history.TimelineStep) -> None:
        """See the port."""
        await transactions.change(self._engine, key, lambda held: documents.note(held, step), absent=None)

    async def dead_letters(
        self,
        tenant: TenantId,
        *,
        reason: Reason | None = None,
        uid: CollectionUid | None = None,
        after: str = "",
        limit: int = 50,
    ) -> list[history.DeadLetter]:
        """See the port."""
        collection, _, document_id = after.partition("/")
        letters: list[history.DeadLetter] = []
        # Names come in order: they are the sort keys of the tenant's collections.
        for item in await self._engine.all(keys.tenant(tenant), begins=keys.NAME):
            name, owner = item["sk"]["S"].removeprefix(keys.NAME), CollectionUid(item["uid"]["S"])
            if uid not in (None, owner) or name < collection:
                continue
            begun = document_id if name == collection else ""
            found = await self._failed(owner, reason, after=begun, limit=limit - len(letters))
            letters += [history.DeadLetter(name, row) for row in found]
            if len(letters) >= limit:
                break
        return letters

    async def _failed(self, uid: CollectionUid, reason: Reason | None, *, after: str, limit: int) -> list[Row]:
        found: list[Row] = []
        cursor: str | None = after
        while cursor is not None and len(found) < limit:
            page, cursor = await self._engine.page(keys.failed(uid), after=cursor, limit=max(limit, 50))
            names = [keys.row(DocumentKey(uid, DocumentId(item["sk"]["S"]))) for item in page]
            rows = [documents.row_of(item) for item in await self._engine.get(names) if item is not None]
            found += [row for row in rows if row.state is State.FAILED and reason in (None, row.reason)]
        return found[:limit]
