"""Accepting a change (R1 to R4): look, let `steps.accept` decide, write all of it in the caller's transaction.

Invariant: a refusal is raised before the first write, so nothing of a refused change is stored.
"""

import sqlite3
from dataclasses import replace

from bloomweaver.adapters.engines.sqlite import documents, rows
from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import Content, DocumentKey, Meta, Revision, Row, Version
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.events import Accepted, Change, Outcome, Rejected, Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

TEXT_KEPT_SECONDS = 600.0
"""How long the text of a deleted document stays after the delete (R16)."""

_EVENT = f"SELECT {rows.EVENT} FROM event WHERE cid = ? AND source = ? AND event_id = ?"
_INSERT_EVENT = (
    "INSERT INTO event (cid, source, event_id, fingerprint, doc, outcome, reason, seq, actor, at, batch_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_REVISION = (
    "INSERT INTO revision (seq, did, src, media_type, content_hash, size_bytes, blob, title, url, metadata, origin,"
    " actor, request_id, event_id, occurred_at, accepted_at, tokens, text)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_TRIM_STEPS = (
    "DELETE FROM step WHERE did = ?1 AND id <= (SELECT id FROM step WHERE did = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
)


def accept(connection: sqlite3.Connection, change: Change, *, now: float) -> Accepted | Rejected:
    """Decide one change."""
    stored = documents.collection_by_name(connection, change.tenant, change.collection)
    if stored is None or change.collection_uid not in (None, stored.collection.uid):
        return Rejected(Refusal(Reason.COLLECTION_NOT_FOUND, f"There is no collection {change.collection!r}."))
    held = documents.hold_in(connection, stored, change.document_id)
    event = change.event
    record = connection.execute(_EVENT, (stored.cid, event.source, event.event_id)).fetchone()
    if record is not None:
        return _repeated(stored, record, change, held)
    try:
        decision, revision = _decide(connection, stored, change, held, now=now)
    except Refusal as refusal:
        return Rejected(refusal)
    following = _apply(connection, stored, change, held, decision, revision, now=now)
    seq = decision.row.seq if decision.row is not None else 0
    _write_event(connection, stored.cid, change, decision, seq=seq, now=now)
    return Accepted(
        decision.outcome,
        decision.row,
        seq,
        event.event_id,
        stored.collection.uid,
        reason=decision.reason,
        steps=following,
        keeps_blob=decision.takes_seq and change.content is not None and change.content.blob is not None,
    )


def _write_event(
    connection: sqlite3.Connection, cid: int, change: Change, decision: steps.Decision, *, seq: int, now: float
) -> None:
    event = change.event
    known = (cid, event.source, event.event_id, event.fingerprint, change.document_id)
    became = (decision.outcome, decision.reason, seq, change.actor, now, change.batch_id)
    connection.execute(_INSERT_EVENT, (*known, *became))


def _repeated(
    stored: rows.StoredCollection, record: rows.Record, change: Change, held: documents.Held | None
) -> Accepted | Rejected:
    """R2: the same event again has its stored answer; another one under its name has none."""
    event = rows.event_of(stored.collection.uid, record)
    if event.identity.fingerprint != change.event.fingerprint:
        detail = f"The event id {event.identity.event_id!r} was used for another change. Give each change its own."
        return Rejected(Refusal(Reason.EVENT_ID_REUSED, detail))
    return Accepted(
        Outcome.DUPLICATE,
        None if held is None else held.row,
        event.seq,
        event.identity.event_id,
        stored.collection.uid,
        original=event.outcome,
        reason=event.reason,
    )


def _decide(
    connection: sqlite3.Connection,
    stored: rows.StoredCollection,
    change: Change,
    held: documents.Held | None,
    *,
    now: float,
) -> tuple[steps.Decision, Revision | None]:
    key = DocumentKey(stored.collection.uid, change.document_id)
    row = None if held is None else held.row
    revision = None
    if change.patch is not None and row is not None:
        revision = documents.revision(connection, key, row.seq)
    live_src = 0
    if change.deletes and row is not None and row.live:
        live_src = documents.source(connection, row.live)
    decision = steps.accept(
        row,
        change,
        key=key,
        ordering=stored.collection.ordering,
        next_seq=_next_seq(connection),
        now=now,
        revision=revision,
        live_src=live_src,
    )
    return decision, revision


def _next_seq(connection: sqlite3.Connection) -> int:
    """Never given twice, also where it is not used and after purges and restores."""
    connection.execute("UPDATE deployment SET counter = counter + 1")  # RETURNING takes five times as long
    epoch, counter = connection.execute("SELECT epoch, counter FROM deployment").fetchone()
    return identity.first_seq(epoch) + int(counter)


def _apply(
    connection: sqlite3.Connection,
    stored: rows.StoredCollection,
    change: Change,
    held: documents.Held | None,
    decision: steps.Decision,
    revision: Revision | None,
    *,
    now: float,
) -> tuple[Step, ...]:
    row = decision.row
    if row is None:
        return ()
    if held is None:
        did, following = documents.insert(connection, stored, row)
    else:
        did = held.did
        following = _update(connection, held, row, decision, now=now)
    if decision.affirms is not None:
        seq, src = decision.affirms
        connection.execute("UPDATE revision SET src = max(src, ?) WHERE seq = ?", (src, seq))
    if decision.takes_seq:
        _write_revision(connection, did, change, row, decision.meta, revision)
    if decision.takes_seq or decision.outcome is Outcome.SUPERSEDED:
        _tell(connection, did, change, decision, row, trim=held is not None, now=now)
    return following


def _update(
    connection: sqlite3.Connection, held: documents.Held, row: Row, decision: steps.Decision, *, now: float
) -> tuple[Step, ...]:
    """The row that was there: what the change condemns dies in the same transaction."""
    before, held.row = held.row, row
    doomed = [v for v in held.versions if v.seq < decision.kills_below]
    if decision.unflips:
        doomed += [v for v in held.versions if v.seq == before.live]
    if row.fsrc > before.fsrc:
        doomed += [v for v in held.versions if _abandoned(connection, row, v)]
    documents.kill(connection, held, doomed, now=now)
    if row.tomb and not before.tomb:
        documents.littered(connection, held.did, at=now + TEXT_KEPT_SECONDS)
    if before.live and not row.live:
        reason = Reason.DELETED_BY_CLIENT
        step = history.TimelineStep(now, history.StepName.HIDDEN, before.live, reason=reason)
        documents.note(connection, held.did, step)
    if row == before:
        return steps.next_steps(row, held.versions, held.generation)
    return documents.save(connection, held, was_live=before.live)


def _abandoned(connection: sqlite3.Connection, row: Row, version: Version) -> bool:
    if version.state in documents.ENDED:
        return False
    return steps.is_abandoned(row, version, src=documents.source(connection, version.seq))


def _write_revision(
    connection: sqlite3.Connection, did: int, change: Change, row: Row, meta: Meta | None, old: Revision | None
) -> None:
    """What was sent. A patch keeps the content that it found, by the name of its blob where it is large."""
    content: Content | None = change.content
    tokens = None
    if change.patch is not None and old is not None:
        content, tokens = old.content, old.tokens
    meta = meta or Meta()
    connection.execute(
        _INSERT_REVISION,
        (
            row.seq,
            did,
            row.src,
            content and content.media_type,
            content and content.hash,
            content and content.size_bytes,
            content and content.blob,
            meta.title,
            meta.url,
            rows.metadata_json(meta.metadata),
            change.origin,
            change.actor,
            change.request_id,
            change.event.event_id,
            change.occurred_at,
            row.accepted_at,
            tokens,
            content and content.text,
        ),
    )


def _tell(
    connection: sqlite3.Connection,
    did: int,
    change: Change,
    decision: steps.Decision,
    row: Row,
    *,
    trim: bool,
    now: float,
) -> None:
    superseded = decision.outcome is Outcome.SUPERSEDED
    name = history.StepName.SUPERSEDED if superseded else history.StepName.ACCEPTED
    step = history.TimelineStep(
        now,
        name,
        row.seq,
        reason=decision.reason,
        detail="" if superseded else decision.outcome,
        actor=change.actor,
        request_id=change.request_id,
    )
    documents.note(connection, did, step)
    if trim:
        connection.execute(_TRIM_STEPS, (did, documents.STEPS_KEPT))


def retry(
    connection: sqlite3.Connection, key: DocumentKey, *, actor: str, request_id: str, now: float
) -> Accepted | None:
    """A failed document begins anew: what was begun and not finished is dropped, what is finished is kept."""
    held = documents.hold(connection, key)
    if held is None or held.row.tomb:
        return None
    again = [v for v in held.versions if v.state is v.state.FAILED and held.generation.pipeline(v.pipe)]
    if held.row.failed:
        again += [v for v in held.versions if v.seq == held.row.seq and v.state is v.state.INTENT]
    if not again and not held.row.failed:
        return None
    for version in again:
        connection.execute(
            "DELETE FROM version WHERE did = ? AND seq = ? AND pipe = ?", (held.did, version.seq, version.pipe)
        )
    held.versions = [v for v in held.versions if v not in again]
    documents.littered(connection, held.did, at=now)
    row = replace(held.row, attempts=0, next_try=None, reason=None, detail="", failed=False, hinted_at=now, hints=0)
    started = 0 if row.live != row.seq else row.started
    held.row = replace(row, first_failure_at=None, last_failure_at=None, started=started)
    step = history.TimelineStep(
        now, history.StepName.RETRIED, row.seq, reason=Reason.REDRIVEN, actor=actor, request_id=request_id
    )
    documents.note(connection, held.did, step)
    following = documents.save(connection, held, was_live=row.live)
    uid = held.stored.collection.uid
    return Accepted(Outcome.UNCHANGED, held.row, row.seq, "", uid, reason=Reason.REDRIVEN, steps=following)
