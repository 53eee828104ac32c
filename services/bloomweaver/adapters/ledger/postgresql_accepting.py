"""Accepting changes (R1 to R4) many at a time: load what all of them touch, let `steps.accept` decide each in order,
write all of it with one commit.

Invariants: sequence numbers are taken behind the rows' locks, so a document's only rise; a refusal is decided before
anything is noted, so nothing of a refused change is stored; the same document or event twice in a batch is decided the
second time with what the first one left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, documents, engine, loading, writing
from bloomweaver.domain import events, identity, steps, trying
from bloomweaver.domain.documents import Content, DocumentKey, Meta, Revision, Row, Version
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.events import Accepted, Change, EventIdentity, Outcome, Rejected, Step, StoredEvent
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

TEXT_KEPT_SECONDS = 600.0
"""How long the text of a deleted document stays after the delete (R16)."""

_EVENTS = (
    f"SELECT e.cid, {rows.of('e', rows.EVENT)} FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])"
    " w(tenant, name, source, event_id)"
    " JOIN collection c ON c.tenant = w.tenant AND c.name = w.name AND c.deleted_at IS NULL"
    " JOIN event e ON e.cid = c.cid AND e.source = w.source AND e.event_id = w.event_id"
)
_NUMBERS = (
    "SELECT epoch, nextval('seq_counter'), nextval('document_did_seq') FROM deployment, generate_series(1, %s::integer)"
)


@dataclass(slots=True)
class _Desk:
    """What the changes of one transaction are decided with. numbers: (seq, did) to take, one pair per change."""

    batch: documents.Batch
    stored: dict[tuple[str, str], rows.StoredCollection]
    numbers: Iterator[tuple[int, int]]

    @property
    def now(self) -> float:
        return self.batch.now


async def accept(tx: engine.Transaction, changes: Sequence[Change]) -> list[Accepted | Rejected]:
    """Decide each change in order, and commit."""
    desk = await _load(tx, changes)
    answers = [_accept(desk, change) for change in changes]
    await writing.write(tx, desk.batch)
    return answers


async def _load(tx: engine.Transaction, changes: Sequence[Change]) -> _Desk:
    names = sorted({(change.tenant, change.collection) for change in changes})
    keys = sorted({(change.tenant, change.collection, change.document_id) for change in changes})
    told = {(change.tenant, change.collection, change.event.source, change.event.event_id) for change in changes}
    in_names = _columns(names)
    async with tx.connection.pipeline():
        execute = tx.connection.execute
        await execute(loading.LOCK_BY_NAME.encode(), in_names)
        found = await execute(loading.COLLECTIONS_BY_NAME.encode(), in_names)
        present = await execute(loading.DOCUMENTS_BY_NAME.encode(), _columns(keys))
        known = await execute(_EVENTS.encode(), _columns(sorted(told)))
        numbers = await execute(_NUMBERS.encode(), (len(changes),))
    batch = documents.Batch(tx.now)
    by_cid = loading.by_number(await found.fetchall())
    for record in await present.fetchall():
        stored = by_cid[record[rows.DOCUMENT_WIDTH]]
        held = loading.held_of(stored, record)
        batch.held[held.row.key] = held
    for cid, *event in await known.fetchall():
        stored_event = rows.event_of(by_cid[cid].collection.uid, tuple(event))
        batch.events[cid, stored_event.identity.source, stored_event.identity.event_id] = stored_event
    stored_by_name = {(s.collection.tenant, s.collection.name): s for s in by_cid.values()}
    taken = [(identity.first_seq(epoch) + counter, did) for epoch, counter, did in await numbers.fetchall()]
    desk = _Desk(batch, {(str(tenant), name): s for (tenant, name), s in stored_by_name.items()}, iter(taken))
    await _load_more(tx, desk, changes)
    return desk


def _columns(records: Sequence[Sequence[str]]) -> list[str]:
    return [arrays.texts(column) for column in zip(*records, strict=True)]


async def _load_more(tx: engine.Transaction, desk: _Desk, changes: Sequence[Change]) -> None:
    """What only changes of documents that are there need."""
    held = desk.batch.held
    if not held:
        return
    await loading.add_versions(tx, held.values())
    deleted, patched = [], []
    for change in changes:
        stored = desk.stored.get((change.tenant, change.collection))
        one = stored and held.get(documents.key_of(stored, change.document_id))
        if one and change.deletes:
            deleted.append(one)
        elif one and change.patch is not None:
            patched.append(one)
    await loading.add_sources(tx, deleted)
    await loading.add_desired(tx, patched)


def _accept(desk: _Desk, change: Change) -> Accepted | Rejected:
    next_seq, next_did = next(desk.numbers)
    stored = desk.stored.get((change.tenant, change.collection))
    if stored is None or change.collection_uid not in (None, stored.collection.uid):
        return Rejected(Refusal(Reason.COLLECTION_NOT_FOUND, f"There is no collection {change.collection!r}."))
    key = DocumentKey(stored.collection.uid, change.document_id)
    held = desk.batch.held.get(key)
    event = desk.batch.events.get((stored.cid, change.event.source, change.event.event_id))
    if event is not None:
        return events.repeated(event, change, None if held is None else held.row)
    try:
        decision, revision = _decide(stored, change, held, key, next_seq=next_seq, now=desk.now)
    except Refusal as refusal:
        return Rejected(refusal)
    following = _apply(desk, stored, change, held, decision, revision, did=next_did)
    seq = decision.row.seq if decision.row is not None else 0
    _note_event(desk, stored, change, decision, seq=seq)
    return Accepted(
        decision.outcome,
        decision.row,
        seq,
        change.event.event_id,
        stored.collection.uid,
        reason=decision.reason,
        steps=following,
        keeps_blob=decision.takes_seq and change.content is not None and change.content.blob is not None,
    )


def _note_event(
    desk: _Desk, stored: rows.StoredCollection, change: Change, decision: steps.Decision, *, seq: int
) -> None:
    event = StoredEvent(
        stored.collection.uid,
        change.document_id,
        EventIdentity(change.event.source, change.event.event_id, change.event.fingerprint),
        decision.outcome,
        decision.reason,
        seq,
        change.actor,
        at=desk.now,
        batch_id=change.batch_id,
    )
    desk.batch.events[stored.cid, event.identity.source, event.identity.event_id] = event
    desk.batch.new_events.append((stored.cid, change, event))


def _decide(
    stored: rows.StoredCollection,
    change: Change,
    held: documents.Held | None,
    key: DocumentKey,
    *,
    next_seq: int,
    now: float,
) -> tuple[steps.Decision, Revision | None]:
    row = None if held is None else held.row
    revision = None
    if change.patch is not None and held is not None:
        revision = held.revisions.get(held.row.seq)
    decision = steps.accept(
        row,
        change,
        key=key,
        ordering=stored.collection.ordering,
        next_seq=next_seq,
        now=now,
        revision=revision,
        live_src=held.source(held.row.live) if change.deletes and held is not None and held.row.live else 0,
    )
    return decision, revision


def _apply(
    desk: _Desk,
    stored: rows.StoredCollection,
    change: Change,
    held: documents.Held | None,
    decision: steps.Decision,
    revision: Revision | None,
    *,
    did: int,
) -> tuple[Step, ...]:
    row = decision.row
    if row is None:
        return ()
    if held is None:
        held, following = documents.add(desk.batch, stored, row, did=did)
        if row.tomb:
            held.litter_at = desk.now + TEXT_KEPT_SECONDS
    else:
        following = _update(desk, held, row, decision)
    if decision.affirms is not None:
        _affirm(desk, held, *decision.affirms)
    if decision.takes_seq:
        _note_revision(desk, held, change, decision.meta, revision)
    if decision.takes_seq or decision.outcome is Outcome.SUPERSEDED:
        _tell(desk, held, change, decision)
    return following


def _update(desk: _Desk, held: documents.Held, row: Row, decision: steps.Decision) -> tuple[Step, ...]:
    """The row that was there: what the change condemns dies in the same transaction."""
    before, held.row = held.row, row
    doomed = [v for v in held.versions if v.seq < decision.kills_below]
    if decision.unflips:
        doomed += [v for v in held.versions if v.seq == before.live]
    if row.fsrc > before.fsrc:
        doomed += [v for v in held.versions if _abandoned(held, v)]
    documents.kill(held, doomed, now=desk.now)
    if row.tomb and not before.tomb:
        held.litter_at = desk.now + TEXT_KEPT_SECONDS
    elif decision.takes_seq and before.live != before.seq:
        held.litter_at = desk.now  # what was there may never be shown
    if before.live and not row.live:
        reason = Reason.DELETED_BY_CLIENT
        desk.batch.note(held, history.TimelineStep(desk.now, history.StepName.HIDDEN, before.live, reason=reason))
    held.trims = held.trims or not held.is_new
    if row == before:
        return steps.next_steps(row, held.versions, held.generation)
    return documents.save(held, was_live=before.live)


def _abandoned(held: documents.Held, version: Version) -> bool:
    if version.state in documents.ENDED:
        return False
    return steps.is_abandoned(held.row, version, src=held.source(version.seq))


def _affirm(desk: _Desk, held: documents.Held, seq: int, src: int) -> None:
    """R3: src(seq) is the highest source version that affirmed it."""
    desk.batch.affirmed.append((seq, src))
    if seq in held.sources:
        old, accepted_at = held.sources[seq]
        held.sources[seq] = (max(old, src), accepted_at)


def _note_revision(desk: _Desk, held: documents.Held, change: Change, meta: Meta | None, old: Revision | None) -> None:
    """What was sent. A patch keeps the content that it found, by the name of its blob where it is large."""
    row = held.row
    content: Content | None = change.content
    tokens = None
    if change.patch is not None and old is not None:
        content, tokens = old.content, old.tokens
    revision = Revision(
        row.key,
        row.seq,
        row.src,
        content,
        meta or Meta(),
        change.origin,
        change.actor,
        change.request_id,
        change.event.event_id,
        change.occurred_at,
        row.accepted_at,
        tokens,
    )
    held.sources[row.seq] = (row.src, row.accepted_at)
    held.revisions[row.seq] = revision
    desk.batch.new_revisions.append((held.did, revision))


def _tell(desk: _Desk, held: documents.Held, change: Change, decision: steps.Decision) -> None:
    superseded = decision.outcome is Outcome.SUPERSEDED
    step = history.TimelineStep(
        desk.now,
        history.StepName.SUPERSEDED if superseded else history.StepName.ACCEPTED,
        held.row.seq,
        reason=decision.reason,
        detail="" if superseded else decision.outcome,
        actor=change.actor,
        request_id=change.request_id,
    )
    desk.batch.note(held, step)


async def retry(tx: engine.Transaction, key: DocumentKey, *, actor: str, request_id: str) -> Accepted | None:
    """A failed document begins anew: what was begun and not finished is dropped, what is finished is kept."""
    batch = await loading.hold(tx, [key])
    held = batch.held.get(key)
    if held is None:
        return None
    again = trying.begun_in_vain(held.row, held.versions, held.generation)
    if again is None:
        return None
    now = tx.now
    documents.drop_versions(held, again)
    held.litter_at = now
    row = held.row = trying.tried_anew(held.row, now=now)
    step = history.TimelineStep(
        now, history.StepName.RETRIED, row.seq, reason=Reason.REDRIVEN, actor=actor, request_id=request_id
    )
    batch.note(held, step)
    following = documents.save(held, was_live=row.live)
    await writing.write(tx, batch)
    uid = held.stored.collection.uid
    return Accepted(Outcome.UNCHANGED, held.row, row.seq, "", uid, reason=Reason.REDRIVEN, steps=following)
