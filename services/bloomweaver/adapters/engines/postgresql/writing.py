"""Writes what a batch has decided: one statement per table, the commit behind the last one, in one round trip.

Invariants: rows of one table are written in the order of their keys, tables in one order, so that batches of two
replicas wait for each other and never in a ring; what two of them would create both (a document, an event) one of them
is refused by a unique index, and begins again.
"""

import operator
from collections.abc import Sequence
from typing import Any

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, documents, engine
from bloomweaver.domain.documents import Revision
from bloomweaver.domain.events import Change, StoredEvent
from bloomweaver.ports import history

Statement = tuple[str, Sequence[Any]]

_ROW = {
    "seq": "bigint", "src": "bigint", "fsrc": "bigint", "tomb": "boolean", "live": "bigint", "content_hash": "text",
    "meta_hash": "text", "started": "bigint", "attempts": "integer", "next_try": "float8", "reason": "text",
    "detail": "text", "failed": "boolean", "first_failure_at": "float8", "last_failure_at": "float8",
    "accepted_at": "float8", "hinted_at": "float8", "hints": "integer", "shown_at": "float8", "state": "text",
    "lane": "text", "due_at": "float8",
}  # fmt: skip
_BORN = arrays.Columns(did="bigint", cid="bigint", doc="text", **_ROW, litter_at="float8", gone_at="float8")
_MOVED = arrays.Columns(
    did="bigint", **_ROW, litter_at="float8", gone_at="float8", flips="boolean", litters_below="boolean"
)
_REVISION = arrays.Columns(
    seq="bigint", did="bigint", src="bigint", media_type="text", content_hash="text", size_bytes="bigint", blob="text",
    title="text", url="text", metadata="text", origin="text", actor="text", request_id="text", event_id="text",
    occurred_at="text", accepted_at="float8", tokens="bigint", text="text",
)  # fmt: skip
_EVENT = arrays.Columns(
    cid="bigint", source="text", event_id="text", fingerprint="text", doc="text", outcome="text", reason="text",
    seq="bigint", actor="text", at="float8", batch_id="text",
)  # fmt: skip
_STEP = arrays.Columns(
    did="bigint", at="float8", seq="bigint", pipe="text", step="text", reason="text", detail="text", actor="text",
    request_id="text",
)  # fmt: skip
_VERSION = arrays.Columns(
    did="bigint", seq="bigint", pipe="text", build="text", n_chunks="integer", state="text", since="float8",
    content_hash="text", removals="integer", tokens_embedded="bigint", tokens_reused="bigint", remove_at="float8",
)  # fmt: skip
_BUILD = arrays.Columns(did="bigint", pipe="text", build="text")
_CHUNK = arrays.Columns(
    did="bigint", pipe="text", build="text", index="integer", kind="text", hash="text", start="integer", end="integer",
    heading="text", page="integer", text="text",
)  # fmt: skip

_INSERT_DOCUMENTS = f"INSERT INTO document ({_BORN.names}) OVERRIDING SYSTEM VALUE SELECT * FROM {_BORN.unnest}"
_UPDATE_DOCUMENTS = (
    f"UPDATE document d SET {', '.join(f'{name} = w.{name}' for name in (*_ROW, 'gone_at'))},"
    " litter_at = CASE WHEN w.litters_below"
    " AND EXISTS (SELECT 1 FROM revision r WHERE r.did = w.did AND r.seq < w.live) THEN %s ELSE w.litter_at END,"
    " flipped_by = CASE WHEN w.flips THEN pg_current_xact_id() ELSE d.flipped_by END"
    f" FROM {_MOVED.unnest} w({_MOVED.names}) WHERE d.did = w.did"
)
_INSERT_REVISIONS = f"INSERT INTO revision ({_REVISION.names}) SELECT * FROM {_REVISION.unnest}"
_INSERT_EVENTS = f"INSERT INTO event ({_EVENT.names}) SELECT * FROM {_EVENT.unnest}"
_INSERT_STEPS = f"INSERT INTO step ({_STEP.names}) SELECT * FROM {_STEP.unnest}"
_TRIM_STEPS = (
    "DELETE FROM step s USING unnest(%s::bigint[]) w(did) WHERE s.did = w.did AND s.id <="
    " (SELECT id FROM step WHERE did = w.did ORDER BY id DESC LIMIT 1 OFFSET %s)"
)
_DROP_VERSIONS = (
    "DELETE FROM version v USING unnest(%s::bigint[], %s::bigint[], %s::text[]) w(did, seq, pipe)"
    " WHERE v.did = w.did AND v.seq = w.seq AND v.pipe = w.pipe"
)
_PUT_VERSIONS = (
    f"INSERT INTO version ({_VERSION.names}) SELECT * FROM {_VERSION.unnest} ON CONFLICT (did, seq, pipe) DO UPDATE SET"
    " build = excluded.build, n_chunks = excluded.n_chunks, state = excluded.state, since = excluded.since,"
    " content_hash = excluded.content_hash, removals = excluded.removals, tokens_embedded = excluded.tokens_embedded,"
    " tokens_reused = excluded.tokens_reused, remove_at = excluded.remove_at"
)
_AFFIRM = (
    "UPDATE revision r SET src = greatest(r.src, w.src) FROM unnest(%s::bigint[], %s::bigint[]) w(seq, src)"
    " WHERE r.seq = w.seq"
)
_TOKENS = (
    "UPDATE revision r SET tokens = w.tokens FROM unnest(%s::bigint[], %s::bigint[]) w(seq, tokens) WHERE r.seq = w.seq"
)
# The update that changes nothing makes the numbers of builds that were there come back with those of new ones.
_PUT_BUILDS = (
    f"WITH b AS (INSERT INTO build (did, pipe, build) SELECT * FROM {_BUILD.unnest}"
    " ON CONFLICT (did, pipe, build) DO UPDATE SET did = excluded.did RETURNING bid, did, pipe, build)"
    ' INSERT INTO chunk (bid, index, kind, hash, start, "end", heading, page, text)'
    ' SELECT b.bid, w.index, w.kind, w.hash, w.start, w."end", w.heading, w.page, w.text'
    f" FROM b JOIN {_CHUNK.unnest} w({_CHUNK.names}) USING (did, pipe, build)"
    " ON CONFLICT (bid, index) DO UPDATE SET kind = excluded.kind, hash = excluded.hash, start = excluded.start,"
    ' "end" = excluded."end", heading = excluded.heading, page = excluded.page, text = excluded.text'
)
_POSITIONS = (
    "INSERT INTO namespace (cid, pipe, position) SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[])"
    " ON CONFLICT (cid, pipe) DO UPDATE SET position = greatest(coalesce(namespace.position, 0), excluded.position)"
)


async def write(tx: engine.Transaction, batch: documents.Batch) -> None:
    """Everything that the batch decided, and the commit."""
    statements = [*_documents(batch), *_events(batch), *_revisions(batch), *_versions(batch), *_rest(batch)]
    await tx.commit(*statements)


async def send(tx: engine.Transaction, batch: documents.Batch) -> None:
    """The same without the commit, for a transaction that goes on; the batch is spent."""
    statements = [*_documents(batch), *_events(batch), *_revisions(batch), *_versions(batch), *_rest(batch)]
    async with tx.connection.pipeline():
        for statement, values in statements:
            await tx.connection.execute(statement.encode(), values)


def _documents(batch: documents.Batch) -> list[Statement]:
    dirty = sorted(
        (held for held in batch.held.values() if held.dirty),
        key=lambda held: (held.stored.cid, held.row.key.document_id),
    )
    born = [held for held in dirty if held.is_new]
    moved = [held for held in dirty if not held.is_new]
    statements: list[Statement] = []
    if born:
        records = [(h.did, h.stored.cid, h.row.key.document_id, *_row(h), h.litter_at, h.gone_at) for h in born]
        statements.append((_INSERT_DOCUMENTS, _BORN.values(records)))
    if moved:
        records = [(h.did, *_row(h), h.litter_at, h.gone_at, h.flipped, h.litters_below) for h in moved]
        statements.append((_UPDATE_DOCUMENTS, [batch.now, *_MOVED.values(records)]))
    return statements


def _row(held: documents.Held) -> rows.Record:
    row = held.row
    return (
        row.seq, row.src, row.fsrc, row.tomb, row.live, row.content_hash, row.meta_hash, row.started, row.attempts,
        row.next_try, row.reason, row.detail, row.failed, row.first_failure_at, row.last_failure_at, row.accepted_at,
        row.hinted_at, row.hints, row.shown_at, row.state, *documents.place(held),
    )  # fmt: skip


def _events(batch: documents.Batch) -> list[Statement]:
    if not batch.new_events:
        return []
    records = sorted((_event(*new) for new in batch.new_events), key=operator.itemgetter(0, 1, 2))
    return [(_INSERT_EVENTS, _EVENT.values(records))]


def _event(cid: int, change: Change, event: StoredEvent) -> rows.Record:
    known = (cid, event.identity.source, event.identity.event_id, event.identity.fingerprint, change.document_id)
    return (*known, event.outcome, event.reason, event.seq, event.actor, event.at, event.batch_id)


def _revisions(batch: documents.Batch) -> list[Statement]:
    statements: list[Statement] = []
    if batch.new_revisions:
        records = [_revision(did, revision) for did, revision in batch.new_revisions]
        statements.append((_INSERT_REVISIONS, _REVISION.values(records)))
    if batch.affirmed:
        affirmed: dict[int, int] = {}
        for seq, src in batch.affirmed:
            affirmed[seq] = max(src, affirmed.get(seq, 0))
        statements.append((_AFFIRM, (arrays.numbers(affirmed), arrays.numbers(affirmed.values()))))
    if batch.tokens:
        statements.append((_TOKENS, (arrays.numbers(batch.tokens), arrays.numbers(batch.tokens.values()))))
    return statements


def _revision(did: int, revision: Revision) -> rows.Record:
    content, meta = revision.content, revision.meta
    sent = (None,) * 4 if content is None else (content.media_type, content.hash, content.size_bytes, content.blob)
    return (
        revision.seq, did, revision.src, *sent, meta.title, meta.url, rows.metadata_json(meta.metadata),
        revision.origin, revision.actor, revision.request_id, revision.event_id, revision.occurred_at,
        revision.accepted_at, revision.tokens, None if content is None else content.text,
    )  # fmt: skip


def _versions(batch: documents.Batch) -> list[Statement]:
    held = [h for h in batch.held.values() if h.changed or h.dropped]
    dropped = [(h.did, seq, pipe) for h in held for seq, pipe in h.dropped]
    put = [
        (
            h.did, v.seq, v.pipe, v.build, v.n_chunks, v.state, v.since, v.content_hash, v.removals, v.tokens_embedded,
            v.tokens_reused, h.changed[v.seq, v.pipe],
        )
        for h in held
        for v in h.versions
        if (v.seq, v.pipe) in h.changed
    ]  # fmt: skip
    statements: list[Statement] = []
    if dropped:
        dids, seqs, pipes = zip(*dropped, strict=True)
        statements.append((_DROP_VERSIONS, (arrays.numbers(dids), arrays.numbers(seqs), arrays.texts(pipes))))
    if put:
        statements.append((_PUT_VERSIONS, _VERSION.values(sorted(put, key=operator.itemgetter(0, 1, 2)))))
    return statements


def _rest(batch: documents.Batch) -> list[Statement]:
    statements: list[Statement] = []
    if batch.builds:
        chunks = [
            (*name, c.index, c.kind, c.hash, c.start, c.end, rows.heading_json(c.heading), c.page, c.text)
            for name, made in batch.builds.items()
            for c in made
        ]
        statements.append((_PUT_BUILDS, [*_BUILD.values(sorted(batch.builds)), *_CHUNK.values(chunks)]))
    if batch.positions:
        places = sorted(batch.positions)
        cids, pipes = zip(*places, strict=True)
        values = (arrays.numbers(cids), arrays.texts(pipes), arrays.numbers(batch.positions[p] for p in places))
        statements.append((_POSITIONS, values))
    if batch.new_steps:
        statements.append((_INSERT_STEPS, _STEP.values([_step(did, step) for did, step in batch.new_steps])))
    trims = [held.did for held in batch.held.values() if held.trims]
    if trims:
        statements.append((_TRIM_STEPS, (arrays.numbers(trims), documents.STEPS_KEPT)))
    return statements


def _step(did: int, step: history.TimelineStep) -> rows.Record:
    return (did, step.at, step.seq, step.pipe, step.step, step.reason, step.detail, step.actor, step.request_id)
