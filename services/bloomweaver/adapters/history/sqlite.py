"""The history on SQLite: reads what the ledger's transactions wrote beside their effects."""

import sqlite3

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import documents, engine
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.domain.identity import CollectionUid, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

KEPT_SECONDS = 30 * 86_400.0

_TIMELINE = (
    "SELECT at, step, seq, pipe, reason, detail, actor, request_id FROM step"
    " WHERE did = ? AND at >= ? ORDER BY id DESC LIMIT ?"
)


class SqliteHistory:
    """See `ports.history`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine
        self._now = engine.clock.now

    async def timeline(self, key: DocumentKey) -> list[history.TimelineStep]:
        """See the port."""
        since = self._now() - KEPT_SECONDS

        def read(connection: sqlite3.Connection) -> list[history.TimelineStep]:
            did = documents.number(connection, key)
            if did is None:
                return []
            found = connection.execute(_TIMELINE, (did, since, documents.STEPS_KEPT))
            return [_step(record) for record in found][::-1]

        return await self._engine.read(read)

    async def note(self, key: DocumentKey, step: history.TimelineStep) -> None:
        """See the port."""

        def write(connection: sqlite3.Connection) -> None:
            did = documents.number(connection, key)
            if did is not None:
                documents.note(connection, did, step)

        await self._engine.write(write)

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
        statement = (
            f"SELECT {rows.of('d', rows.DOCUMENT)}, c.uid, c.name"
            " FROM collection c CROSS JOIN document d ON d.cid = c.cid"
            " WHERE c.tenant = :tenant AND c.deleted_at IS NULL AND (:uid IS NULL OR c.uid = :uid)"
            " AND d.state = 'failed' AND (:reason IS NULL OR d.reason = :reason)"
            " AND (c.name > :collection OR (c.name = :collection AND d.doc > :document_id))"
            " ORDER BY c.name, d.doc LIMIT :limit"
        )
        values = {
            "tenant": tenant,
            "uid": uid,
            "reason": reason,
            "collection": collection,
            "document_id": document_id,
            "limit": limit,
        }
        return await self._engine.read(
            lambda connection: [_letter(record) for record in connection.execute(statement, values)]
        )


def _step(record: rows.Record) -> history.TimelineStep:
    at, step, seq, pipe, reason, detail, actor, request_id = record
    return history.TimelineStep(
        at, history.StepName(step), seq, pipe, rows.reason_of(reason), detail, actor, request_id
    )


def _letter(record: rows.Record) -> history.DeadLetter:
    uid, name = record[rows.DOCUMENT_WIDTH :]
    return history.DeadLetter(name, rows.row_of(CollectionUid(uid), record))
