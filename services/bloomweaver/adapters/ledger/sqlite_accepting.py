"""Accepting changes (R1 to R4): look, let `steps.accept` decide, write all of it in the caller's transaction.

Every accept passes here, so what several of a commit need is asked for once: collections, rows and earlier events are
read together, sequence numbers are taken together, and new records are written at the end, a table at a time. A
document that the same commit has touched already is read again, after what was held back for it is written.
Invariant: a refusal is raised before the first write, so nothing of a refused change is stored.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import documents
from bloomweaver.domain import events, identity, steps, trying
from bloomweaver.domain.documents import Content, DocumentKey, Meta, Revision, Row, Version
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.events import Accepted, Change, EventIdentity, Outcome, Rejected, Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

TEXT_KEPT_SECONDS = 600.0
"""How long the text of a deleted document stays after the delete (R16)."""

_EVENTS = (
    f"SELECT {rows.of('e', rows.EVENT)} FROM json_each(?) AS wanted CROSS JOIN event AS e"
    " ON e.cid = ? AND e.source = ? AND e.event_id = wanted.value"
)
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

_Event = tuple[str, str]
"""(source, event id), inside a collection."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The changes of one call, in order. now: the ledger's time when it came."""

    changes: Sequence[Change]
    now: float


def accept(connection: sqlite3.Connection, offers: Sequence[Offer]) -> list[list[Accepted | Rejected]]:
    """Decide the changes of several calls, each by itself."""
    changes = [change for offer in offers for change in offer.changes]
    commit = _Commit(connection, _Sequence.begun(connection), _collections(connection, changes))
    commit.read(changes)
    results = [[commit.accept(change, now=offer.now) for change in offer.changes] for offer in offers]
    commit.flush()
    commit.seqs.keep(connection)
    return results


@dataclass(slots=True)
class _Sequence:
    """Numbers never given twice, also where one is not used and after purges and restores."""

    first: int
    counter: int

    @classmethod
    def begun(cls, connection: sqlite3.Connection) -> "_Sequence":
        epoch, counter = connection.execute("SELECT epoch, counter FROM deployment").fetchone()
        return cls(identity.first_seq(epoch), counter)

    def next(self) -> int:
        self.counter += 1
        return self.first + self.counter

    def keep(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE deployment SET counter = ?", (self.counter,))


@dataclass(slots=True)
class _Pending:
    """Records of new things, not written yet. told: the events among them."""

    documents: list[rows.Record] = field(default_factory=list)
    revisions: list[rows.Record] = field(default_factory=list)
    events: list[rows.Record] = field(default_factory=list)
    steps: list[rows.Record] = field(default_factory=list)
    trims: list[tuple[int, int]] = field(default_factory=list)
    litters: list[tuple[float, int]] = field(default_factory=list)

    def write(self, connection: sqlite3.Connection) -> None:
        for statement, records in (
            (documents.INSERT, self.documents),
            (_INSERT_REVISION, self.revisions),
            (_INSERT_EVENT, self.events),
            (documents.INSERT_STEP, self.steps),
            (_TRIM_STEPS, self.trims),
            (documents.LITTER, self.litters),
        ):
            if records:
                connection.executemany(statement, records)


@dataclass(slots=True)
class _Commit:
    """What the accepts of one transaction share. touched: documents that one of them has changed."""

    connection: sqlite3.Connection
    seqs: _Sequence
    collections: dict[tuple[str, str], rows.StoredCollection | None]
    held: dict[int, dict[str, documents.Held]] = field(default_factory=dict)
    events: dict[int, dict[_Event, rows.Record]] = field(default_factory=dict)
    touched: set[tuple[int, str]] = field(default_factory=set)
    pending: _Pending = field(default_factory=_Pending)
    dids: int | None = None

    def read(self, changes: Iterable[Change]) -> None:
        """What is stored of the documents and events of these changes."""
        wanted: defaultdict[int, list[Change]] = defaultdict(list)
        found: dict[int, rows.StoredCollection] = {}
        for change in changes:
            stored = self.collections[change.tenant, change.collection]
            if stored is not None:
                found[stored.cid] = stored
                wanted[stored.cid].append(change)
        for cid, those in wanted.items():
            names = {change.document_id for change in those}
            self.held[cid] = documents.hold_several(self.connection, found[cid], names)
            self.events[cid] = _events(self.connection, cid, (change.event for change in those))

    def accept(self, change: Change, *, now: float) -> Accepted | Rejected:
        """Decide one change."""
        stored = self.collections[change.tenant, change.collection]
        if stored is None or change.collection_uid not in (None, stored.collection.uid):
            return Rejected(Refusal(Reason.COLLECTION_NOT_FOUND, f"There is no collection {change.collection!r}."))
        held = self._held(stored, change)
        event = change.event
        record = self.events[stored.cid].get((event.source, event.event_id))
        if record is not None:
            return events.repeated(
                rows.event_of(stored.collection.uid, record), change, None if held is None else held.row
            )
        try:
            decision, revision = _decide(self.connection, stored, change, held, next_seq=self.seqs.next(), now=now)
        except Refusal as refusal:
            return Rejected(refusal)
        following = self._apply(stored, change, held, decision, revision, now=now)
        seq = decision.row.seq if decision.row is not None else 0
        self._write_event(stored.cid, change, decision, seq=seq, now=now)
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

    def flush(self) -> None:
        """Write what was held back."""
        pending, self.pending = self.pending, _Pending()
        pending.write(self.connection)

    def _held(self, stored: rows.StoredCollection, change: Change) -> documents.Held | None:
        if (stored.cid, change.document_id) not in self.touched:
            return self.held[stored.cid].get(change.document_id)
        self.flush()
        return documents.hold_in(self.connection, stored, change.document_id)

    def _apply(
        self,
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
        self.touched.add((stored.cid, change.document_id))
        if held is None:
            did = self._next_did()
            record, following = documents.fresh(stored, row, did)
            self.pending.documents.append(record)
            if row.tomb:
                self.pending.litters.append((now + TEXT_KEPT_SECONDS, did))
        else:
            did = held.did
            following = _update(self.connection, held, row, decision, now=now)
        if decision.affirms is not None:
            seq, src = decision.affirms
            self.connection.execute("UPDATE revision SET src = max(src, ?) WHERE seq = ?", (src, seq))
        if decision.takes_seq:
            self.pending.revisions.append(_revision_record(did, change, row, decision.meta, revision))
        if decision.takes_seq or decision.outcome is Outcome.SUPERSEDED:
            self.pending.steps.append(documents.step_record(did, _step(change, decision, row, now=now)))
            if held is not None:
                self.pending.trims.append((did, documents.STEPS_KEPT))
        return following

    def _write_event(self, cid: int, change: Change, decision: steps.Decision, *, seq: int, now: float) -> None:
        event = change.event
        reason, outcome, doc = decision.reason, decision.outcome, change.document_id
        record = (event.source, event.event_id, event.fingerprint)
        told = (seq, change.actor, now, change.batch_id)
        self.pending.events.append((cid, *record, doc, outcome, reason, *told))
        self.events[cid][event.source, event.event_id] = (doc, *record, outcome, reason, *told)

    def _next_did(self) -> int:
        if self.dids is None:
            self.dids = self.connection.execute("SELECT coalesce(max(did), 0) FROM document").fetchone()[0]
        self.dids += 1
        return self.dids


def _collections(
    connection: sqlite3.Connection, changes: Iterable[Change]
) -> dict[tuple[str, str], rows.StoredCollection | None]:
    named = {(change.tenant, change.collection) for change in changes}
    return {(tenant, name): documents.collection_by_name(connection, tenant, name) for tenant, name in named}


def _events(connection: sqlite3.Connection, cid: int, events: Iterable[EventIdentity]) -> dict[_Event, rows.Record]:
    """The stored ones, by source and id."""
    by_source: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        by_source[event.source].add(event.event_id)
    return {
        (source, record[2]): record
        for source, names in by_source.items()
        for record in connection.execute(_EVENTS, (json.dumps(list(names)), cid, source))
    }


def _decide(
    connection: sqlite3.Connection,
    stored: rows.StoredCollection,
    change: Change,
    held: documents.Held | None,
    *,
    next_seq: int,
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
        next_seq=next_seq,
        now=now,
        revision=revision,
        live_src=live_src,
    )
    return decision, revision


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
    elif decision.takes_seq and before.live != before.seq:
        documents.littered(connection, held.did, at=now)  # what was there may never be shown
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


def _revision_record(did: int, change: Change, row: Row, meta: Meta | None, old: Revision | None) -> rows.Record:
    """What was sent. A patch keeps the content that it found, by the name of its blob where it is large."""
    content: Content | None = change.content
    tokens = None
    if change.patch is not None and old is not None:
        content, tokens = old.content, old.tokens
    meta = meta or Meta()
    return (
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
    )


def _step(change: Change, decision: steps.Decision, row: Row, *, now: float) -> history.TimelineStep:
    superseded = decision.outcome is Outcome.SUPERSEDED
    return history.TimelineStep(
        now,
        history.StepName.SUPERSEDED if superseded else history.StepName.ACCEPTED,
        row.seq,
        reason=decision.reason,
        detail="" if superseded else decision.outcome,
        actor=change.actor,
        request_id=change.request_id,
    )


def retry(
    connection: sqlite3.Connection, key: DocumentKey, *, actor: str, request_id: str, now: float
) -> Accepted | None:
    """A failed document begins anew: what was begun and not finished is dropped, what is finished is kept."""
    held = documents.hold(connection, key)
    if held is None:
        return None
    again = trying.begun_in_vain(held.row, held.versions, held.generation)
    if again is None:
        return None
    for version in again:
        connection.execute(
            "DELETE FROM version WHERE did = ? AND seq = ? AND pipe = ?", (held.did, version.seq, version.pipe)
        )
    held.versions = [v for v in held.versions if v not in again]
    documents.littered(connection, held.did, at=now)
    row = held.row = trying.tried_anew(held.row, now=now)
    step = history.TimelineStep(
        now, history.StepName.RETRIED, row.seq, reason=Reason.REDRIVEN, actor=actor, request_id=request_id
    )
    documents.note(connection, held.did, step)
    following = documents.save(connection, held, was_live=row.live)
    uid = held.stored.collection.uid
    return Accepted(Outcome.UNCHANGED, held.row, row.seq, "", uid, reason=Reason.REDRIVEN, steps=following)
