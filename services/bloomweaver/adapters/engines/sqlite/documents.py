"""A document inside a transaction: loaded whole, decided in Python, saved whole.

Invariants: `save` writes with the row the lane that it waits in and when the reconciler looks at it, so no change of a
row can leave it waiting unseen (R12); and every change of `live` takes the next value of the flip counter (R11).
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bloomweaver.adapters.engines import rows, waiting
from bloomweaver.domain import steps
from bloomweaver.domain.documents import DocumentKey, Generation, Revision, Row, Version, VersionState
from bloomweaver.domain.events import Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

ENDED = frozenset({VersionState.DEAD, VersionState.GONE})
GIVEN_AGAIN_SECONDS = 60.0
STEPS_KEPT = 50

_COLLECTION_BY_NAME = f"SELECT {rows.COLLECTION} FROM collection WHERE tenant = ? AND name = ? AND deleted_at IS NULL"
_COLLECTION_BY_UID = f"SELECT {rows.COLLECTION} FROM collection WHERE uid = ? AND deleted_at IS NULL"
_COLLECTION_BY_CID = f"SELECT {rows.COLLECTION} FROM collection WHERE cid = ? AND deleted_at IS NULL"
_DOCUMENT = f"SELECT {rows.DOCUMENT} FROM document WHERE cid = ? AND doc = ?"
_DOCUMENTS = (
    f"SELECT {rows.of('d', rows.DOCUMENT)} FROM json_each(?) AS wanted"
    " CROSS JOIN document AS d ON d.cid = ? AND d.doc = wanted.value"
)
_DOCUMENT_BY_DID = f"SELECT {rows.DOCUMENT} FROM document WHERE did = ?"
_VERSIONS = f"SELECT {rows.VERSION} FROM version WHERE did = ?"
_REVISION = f"SELECT {rows.REVISION} FROM revision WHERE seq = ?"
INSERT = (
    "INSERT INTO document (did, cid, doc, seq, src, fsrc, tomb, live, content_hash, meta_hash, started, attempts,"
    " next_try, reason, detail, failed, first_failure_at, last_failure_at, accepted_at, hinted_at, hints,"
    " shown_at, state, lane, due_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_UPDATE = (
    "UPDATE document SET seq = ?, src = ?, fsrc = ?, tomb = ?, live = ?, content_hash = ?, meta_hash = ?, started = ?,"
    " attempts = ?, next_try = ?, reason = ?, detail = ?, failed = ?, first_failure_at = ?, last_failure_at = ?,"
    " accepted_at = ?, hinted_at = ?, hints = ?, shown_at = ?, state = ?, lane = ?, due_at = ? WHERE did = ?"
)
LITTER = "UPDATE document SET litter_at = ? WHERE did = ?"
INSERT_STEP = (
    "INSERT INTO step (did, at, seq, pipe, step, reason, detail, actor, request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(slots=True)
class Held:
    """A document under the transaction's lock. `row` and `versions` change as decisions are taken."""

    did: int
    stored: rows.StoredCollection
    row: Row
    versions: list[Version]

    @property
    def generation(self) -> Generation:
        """Of its collection."""
        return self.stored.generation


def collection_by_name(connection: sqlite3.Connection, tenant: str, name: str) -> rows.StoredCollection | None:
    """A deleted one is not found."""
    record = connection.execute(_COLLECTION_BY_NAME, (tenant, name)).fetchone()
    return None if record is None else rows.collection_of(record)


def collection_by_uid(connection: sqlite3.Connection, uid: str) -> rows.StoredCollection | None:
    """A deleted one is not found."""
    record = connection.execute(_COLLECTION_BY_UID, (uid,)).fetchone()
    return None if record is None else rows.collection_of(record)


def collection_by_cid(connection: sqlite3.Connection, cid: int) -> rows.StoredCollection | None:
    """A deleted one is not found."""
    record = connection.execute(_COLLECTION_BY_CID, (cid,)).fetchone()
    return None if record is None else rows.collection_of(record)


def hold(connection: sqlite3.Connection, key: DocumentKey) -> Held | None:
    """The document, or None where it or its collection is not there."""
    stored = collection_by_uid(connection, key.collection_uid)
    return None if stored is None else hold_in(connection, stored, key.document_id)


def number(connection: sqlite3.Connection, key: DocumentKey) -> int | None:
    """The document's number inside the file."""
    statement = "SELECT did FROM document JOIN collection USING (cid) WHERE uid = ? AND deleted_at IS NULL AND doc = ?"
    record = connection.execute(statement, (key.collection_uid, key.document_id)).fetchone()
    return None if record is None else int(record[0])


def hold_in(connection: sqlite3.Connection, stored: rows.StoredCollection, document_id: str) -> Held | None:
    """The document of that id."""
    return _held(connection, stored, connection.execute(_DOCUMENT, (stored.cid, document_id)).fetchone())


def hold_several(
    connection: sqlite3.Connection, stored: rows.StoredCollection, document_ids: Iterable[str]
) -> dict[str, Held]:
    """Those of these documents that are there."""
    records = connection.execute(_DOCUMENTS, (json.dumps(list(document_ids)), stored.cid)).fetchall()
    found = (_held(connection, stored, record) for record in records)
    return {held.row.key.document_id: held for held in found if held is not None}


def hold_number(connection: sqlite3.Connection, cid: int, did: int) -> Held | None:
    """The document of that number, where its collection is still there."""
    stored = collection_by_cid(connection, cid)
    if stored is None:
        return None
    return _held(connection, stored, connection.execute(_DOCUMENT_BY_DID, (did,)).fetchone())


def _held(connection: sqlite3.Connection, stored: rows.StoredCollection, record: rows.Record | None) -> Held | None:
    if record is None:
        return None
    row = rows.row_of(stored.collection.uid, record)
    return Held(record[0], stored, row, versions_of(connection, record[0], row.key))


def versions_of(connection: sqlite3.Connection, did: int, key: DocumentKey) -> list[Version]:
    """All that were built, the gone ones that are not forgotten included."""
    return [rows.version_of(key, record) for record in connection.execute(_VERSIONS, (did,))]


def revision(connection: sqlite3.Connection, key: DocumentKey, seq: int) -> Revision | None:
    """What was sent under that seq."""
    record = connection.execute(_REVISION, (seq,)).fetchone()
    return None if record is None else rows.revision_of(key, record)


def source(connection: sqlite3.Connection, seq: int) -> int:
    """src(seq), the order key of a revision; 0 where it is forgotten, which is below every floor."""
    record = connection.execute("SELECT src FROM revision WHERE seq = ?", (seq,)).fetchone()
    return 0 if record is None else int(record[0])


def fresh(stored: rows.StoredCollection, row: Row, did: int) -> tuple[rows.Record, tuple[Step, ...]]:
    """A new document for `INSERT`, and where it goes next."""
    following = steps.next_steps(row, (), stored.generation)
    lane, due_at = waiting.place(row, following, [])
    return (did, stored.cid, row.key.document_id, *rows.row_values(row), lane, due_at), following


def save(connection: sqlite3.Connection, held: Held, *, was_live: int) -> tuple[Step, ...]:
    """The row as it is now, and where it goes next. Versions are saved by what changes them."""
    following = steps.next_steps(held.row, held.versions, held.generation)
    lane, due_at = waiting.place(held.row, following, held.versions)
    connection.execute(_UPDATE, (*rows.row_values(held.row), lane, due_at, held.did))
    if held.row.live != was_live:
        flips = next_flip(connection)
        connection.execute("UPDATE document SET flip = ? WHERE did = ?", (flips, held.did))
    return following


def next_flip(connection: sqlite3.Connection) -> int:
    """Counts a change of what searches may show."""
    connection.execute("UPDATE deployment SET flips = flips + 1")
    return int(connection.execute("SELECT flips FROM deployment").fetchone()[0])


def kill(connection: sqlite3.Connection, held: Held, doomed: Iterable[Version], *, now: float) -> None:
    """These versions die: never to be shown again. One that has no vectors is gone at once."""
    ending = {(v.seq, v.pipe): v for v in doomed if v.state not in ENDED}
    if not ending:
        return
    # A delete's own hint removes first; `removals` comes after it. A flip leaves searches under way their time.
    remove_at = now + (GIVEN_AGAIN_SECONDS if held.row.tomb else steps.FIRST_REMOVAL_SECONDS)
    for (seq, pipe), version in ending.items():
        state = VersionState.DEAD if version.n_chunks else VersionState.GONE
        connection.execute(
            "UPDATE version SET state = ?, since = ?, remove_at = ? WHERE did = ? AND seq = ? AND pipe = ?",
            (state, now, remove_at if version.n_chunks else None, held.did, seq, pipe),
        )
        ending[seq, pipe] = replace(version, state=state, since=now)
    held.versions = [ending.get((v.seq, v.pipe), v) for v in held.versions]
    if any(v.state is VersionState.GONE for v in ending.values()):
        went(connection, held.did, now=now)


def went(connection: sqlite3.Connection, did: int, *, now: float) -> None:
    """A version of it is gone: what it alone named may be garbage."""
    connection.execute("UPDATE document SET gone_at = ?, litter_at = ? WHERE did = ?", (now, now, did))


def littered(connection: sqlite3.Connection, did: int, *, at: float | None) -> None:
    """When to look whether something of the document is garbage."""
    connection.execute(LITTER, (at, did))


def change_version(connection: sqlite3.Connection, held: Held, old: Version, new: Version) -> None:
    """One version's state, date or size."""
    connection.execute(
        "UPDATE version SET state = ?, since = ?, removals = ? WHERE did = ? AND seq = ? AND pipe = ?",
        (new.state, new.since, new.removals, held.did, old.seq, old.pipe),
    )
    held.versions = [new if v is old else v for v in held.versions]


def flip(connection: sqlite3.Connection, held: Held, seq: int, *, now: float) -> None:
    """R8, decided by the caller: the seq is shown, everything below it dies."""
    row, generation = held.row, held.generation
    shown = steps.find(held.versions, seq, generation.active.pipe)
    if row.seq == seq:
        reason = Reason.NO_TEXT if shown is not None and not shown.n_chunks else None
        row = replace(row, attempts=0, next_try=None, reason=reason, detail="", failed=False)
        row = replace(row, first_failure_at=None, last_failure_at=None)
    held.row = replace(row, live=seq, shown_at=now)
    for version in held.versions:
        if version.seq == seq and version.state is VersionState.READY and generation.pipeline(version.pipe):
            change_version(connection, held, version, replace(version, state=VersionState.LIVE, since=now))
    kill(connection, held, [v for v in held.versions if v.seq < seq], now=now)
    note(connection, held.did, history.TimelineStep(now, history.StepName.SHOWN, seq, generation.active.pipe))
    below = connection.execute("SELECT 1 FROM revision WHERE did = ? AND seq < ? LIMIT 1", (held.did, seq))
    if below.fetchone() is not None:
        littered(connection, held.did, at=now)


def flip_what_waits(connection: sqlite3.Connection, held: Held, *, now: float) -> bool:
    """Show the newest seq that nothing holds up any more, e.g. after a pipeline was given up."""
    candidates = sorted({v.seq for v in held.versions if v.state is VersionState.READY}, reverse=True)
    for seq in candidates:
        src, epoch = source(connection, seq), held.generation.epoch
        if steps.may_flip(held.row, held.versions, held.generation, seq=seq, src=src, epoch=epoch):
            flip(connection, held, seq, now=now)
            return True
    return False


def note(connection: sqlite3.Connection, did: int, step: history.TimelineStep) -> None:
    """A line of the timeline."""
    connection.execute(INSERT_STEP, step_record(did, step))


def step_record(did: int, step: history.TimelineStep) -> rows.Record:
    """For `INSERT_STEP`."""
    return (did, step.at, step.seq, step.pipe, step.step, step.reason, step.detail, step.actor, step.request_id)
