"""The history on PostgreSQL: reads what the ledger's transactions wrote beside their effects."""

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.domain.identity import CollectionUid, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

KEPT_SECONDS = 30 * 86_400.0
STEPS_GIVEN = 50

_OF_KEY = "document d JOIN collection c USING (cid) WHERE c.uid = %(uid)s AND c.deleted_at IS NULL AND d.doc = %(doc)s"
_TIMELINE = (
    "SELECT at, step, s.seq, pipe, s.reason, s.detail, actor, request_id"
    f" FROM step s WHERE did = (SELECT did FROM {_OF_KEY}) AND at >= %(since)s ORDER BY id DESC LIMIT %(limit)s"
)
_NOTE = (
    "INSERT INTO step (did, at, seq, pipe, step, reason, detail, actor, request_id)"
    " SELECT did, %(at)s, %(seq)s, %(pipe)s, %(step)s, %(reason)s, %(detail)s, %(actor)s, %(request_id)s"
    f" FROM {_OF_KEY}"
)
_DEAD_LETTERS = (
    f"SELECT {rows.of('d', rows.DOCUMENT)}, c.uid, c.name FROM collection c JOIN document d ON d.cid = c.cid"
    " WHERE c.tenant = %(tenant)s AND c.deleted_at IS NULL AND c.uid = coalesce(%(uid)s, c.uid)"
    " AND d.state = 'failed' AND (%(reason)s::text IS NULL OR d.reason = %(reason)s)"
    " AND (c.name, d.doc) > (%(collection)s, %(document_id)s) ORDER BY c.name, d.doc LIMIT %(limit)s"
)


class PostgresqlHistory:
    """See `ports.history`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine

    async def timeline(self, key: DocumentKey) -> list[history.TimelineStep]:
        """See the port."""

        async def read(tx: engine.Transaction) -> list[history.TimelineStep]:
            place = {"uid": key.collection_uid, "doc": key.document_id}
            found = await tx.rows(_TIMELINE, {**place, "since": tx.now - KEPT_SECONDS, "limit": STEPS_GIVEN})
            return [_step(record) for record in found][::-1]

        return await self._engine.run(read, reads=True)

    async def note(self, key: DocumentKey, step: history.TimelineStep) -> None:
        """See the port."""
        values: dict[str, object] = {
            "uid": key.collection_uid,
            "doc": key.document_id,
            "at": step.at,
            "seq": step.seq,
            "pipe": step.pipe,
            "step": step.step,
            "reason": step.reason,
            "detail": step.detail,
            "actor": step.actor,
            "request_id": step.request_id,
        }
        await self._engine.run(lambda tx: tx.run(_NOTE, values), repeatable=False)

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
        values: dict[str, object] = {
            "tenant": tenant,
            "uid": uid,
            "reason": reason,
            "collection": collection,
            "document_id": document_id,
            "limit": limit,
        }
        return [_letter(record) for record in await self._engine.fetch(_DEAD_LETTERS, values)]


def _step(record: rows.Record) -> history.TimelineStep:
    at, step, seq, pipe, reason, detail, actor, request_id = record
    return history.TimelineStep(
        at, history.StepName(step), seq, pipe, rows.reason_of(reason), detail, actor, request_id
    )


def _letter(record: rows.Record) -> history.DeadLetter:
    uid, name = record[rows.DOCUMENT_WIDTH :]
    return history.DeadLetter(name, rows.row_of(CollectionUid(uid), record))
