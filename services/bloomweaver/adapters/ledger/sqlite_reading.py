"""What services ask the ledger. Every function reads one moment: the engine gives it a transaction of its own."""

import json
import sqlite3
from collections.abc import Collection as Some
from collections.abc import Iterable, Sequence

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import chunk_rows, documents
from bloomweaver.domain import steps
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Generation, Revision, Row, State
from bloomweaver.domain.events import Step, StoredEvent
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.ports import ledger

_PENDING = "live <> seq AND NOT tomb AND NOT failed"  # word for word what the index document_pending holds
_EVENT = f"SELECT {rows.EVENT} FROM event WHERE cid = ? AND source = ? AND event_id = ?"
_ROW = f"SELECT {rows.DOCUMENT} FROM document WHERE cid = ? AND doc = ?"
# Half the time of `doc IN (...)`, which sorts the names first.
_CANDIDATES = (
    f"SELECT {rows.of('d', rows.DOCUMENT)}, d.flip FROM json_each(?2) name"
    " CROSS JOIN document d ON d.cid = ?1 AND d.doc = name.value"
)
_REVISIONS = (
    f"SELECT {rows.REVISION} FROM revision WHERE did = ?1 AND (seq IN (?2, ?3)"
    " OR seq IN (SELECT seq FROM version WHERE did = ?1 AND state <> 'gone')) ORDER BY seq"
)
_BUILD = (
    "SELECT bid FROM version JOIN build USING (did, pipe, build)"
    " WHERE did = ? AND seq = ? AND pipe = ? AND state <> 'gone'"
)
_CHUNKS = f"SELECT {chunk_rows.COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id"
# What is wanted: [cid, document id, seq, pipe, index] each.
# A hit needs title, link and metadata of its revision; the whole text, up to 64 kB, stays where it is.
_SHOWN = (
    f"SELECT wanted.key, c.id & {chunk_rows.INDEX_MASK}, {rows.of('c', rows.CHUNK_BESIDE_INDEX)},"
    f" {rows.of('r', rows.REVISION.removesuffix(', text'))}, NULL FROM json_each(?) AS wanted"
    " CROSS JOIN document AS d"
    " ON d.cid = json_extract(wanted.value, '$[0]') AND d.doc = json_extract(wanted.value, '$[1]')"
    " CROSS JOIN version AS v"
    " ON v.did = d.did AND v.seq = json_extract(wanted.value, '$[2]') AND v.pipe = json_extract(wanted.value, '$[3]')"
    " AND v.state <> 'gone'"
    " CROSS JOIN build AS b ON b.did = v.did AND b.pipe = v.pipe AND b.build = v.build"
    f" CROSS JOIN chunk AS c ON c.id = b.bid << {chunk_rows.INDEX_BITS} | json_extract(wanted.value, '$[4]')"
    " CROSS JOIN revision AS r ON r.seq = v.seq AND r.did = d.did"
)


def event(connection: sqlite3.Connection, uid: CollectionUid, source: str, event_id: str) -> StoredEvent | None:
    """One line of the inbox."""
    stored = documents.collection_by_uid(connection, uid)
    if stored is None:
        return None
    record = connection.execute(_EVENT, (stored.cid, source, event_id)).fetchone()
    return None if record is None else rows.event_of(uid, record)


def look(connection: sqlite3.Connection, key: DocumentKey, *, now: float) -> ledger.Look | None:
    """All that a worker needs of one document."""
    held = documents.hold(connection, key)
    if held is None:
        return None
    row = held.row
    found = connection.execute(_REVISIONS, (held.did, row.seq, row.live))
    revisions = tuple(rows.revision_of(key, record) for record in found)
    return ledger.Look(now, held.stored.collection, held.generation, row, tuple(held.versions), revisions)


def needed(connection: sqlite3.Connection, key: DocumentKey) -> tuple[Step, ...]:
    """What one document needs next."""
    held = documents.hold(connection, key)
    return () if held is None else steps.next_steps(held.row, held.versions, held.generation)


def rows_of(connection: sqlite3.Connection, keys: Iterable[DocumentKey]) -> list[Row | None]:
    """The rows alone."""
    numbers: dict[CollectionUid, int | None] = {}
    found: list[Row | None] = []
    for key in keys:
        uid = key.collection_uid
        if uid not in numbers:
            stored = documents.collection_by_uid(connection, uid)
            numbers[uid] = None if stored is None else stored.cid
        record = connection.execute(_ROW, (numbers[uid], key.document_id)).fetchone()
        found.append(None if record is None else rows.row_of(uid, record))
    return found


def listed(connection: sqlite3.Connection, listing: ledger.Listing) -> list[tuple[Row, Revision]]:
    """A page of documents with their desired revision."""
    stored = documents.collection_by_uid(connection, listing.collection_uid)
    if stored is None:
        return []
    columns = f"{rows.of('d', rows.DOCUMENT)}, {rows.of('r', rows.REVISION)}"
    wheres = ["d.cid = :cid", "d.doc > :after"]
    values: dict[str, object] = {"cid": stored.cid, "after": listing.after, "limit": listing.limit}
    if listing.state is None:
        wheres.append("NOT d.tomb")
    else:
        wheres.append("d.state = 'failed'" if listing.state is State.FAILED else "d.state = :state")
        values["state"] = listing.state
    if listing.prefix:
        wheres.append("d.doc >= :prefix AND substr(d.doc, 1, length(:prefix)) = :prefix")
        values["prefix"] = listing.prefix
    if listing.since is not None:
        wheres.append("d.accepted_at >= :since")
        values["since"] = listing.since
    if listing.origin is not None:
        wheres.append("r.origin = :origin")
        values["origin"] = listing.origin
    # CROSS JOIN keeps the order of the tables, and with it that of the pages.
    statement = (
        f"SELECT {columns} FROM document d CROSS JOIN revision r ON r.seq = d.seq"
        f" WHERE {' AND '.join(wheres)} ORDER BY d.doc LIMIT :limit"
    )
    page = []
    for record in connection.execute(statement, values):
        row = rows.row_of(stored.collection.uid, record)
        page.append((row, rows.revision_of(row.key, record[rows.DOCUMENT_WIDTH :])))
    return page


def snapshot(connection: sqlite3.Connection, uids: Some[CollectionUid]) -> ledger.Snapshot:
    """R11: the flip counter, and what each collection is kept in."""
    (flips,) = connection.execute("SELECT flips FROM deployment").fetchone()
    generations: dict[CollectionUid, Generation] = {}
    positions: dict[CollectionUid, int] = {}
    for uid in uids:
        stored = documents.collection_by_uid(connection, uid)
        if stored is None:
            continue
        generations[uid] = stored.generation
        place = (stored.cid, stored.generation.active.pipe)
        record = connection.execute("SELECT position FROM namespace WHERE cid = ? AND pipe = ?", place).fetchone()
        if record is not None and record[0] is not None:
            positions[uid] = record[0]
    return ledger.Snapshot(ledger.SnapshotToken(str(flips)), generations, positions)


def visible(
    connection: sqlite3.Connection, uid: CollectionUid, doc_ids: Sequence[str], snapshot: ledger.Snapshot
) -> ledger.Visibility:
    """R10, R11: the candidates' rows, and whether what they show changed since the snapshot."""
    stored = documents.collection_by_uid(connection, uid)
    then = snapshot.generations.get(uid)
    if stored is None or then is None:
        return ledger.Visibility({}, moved=True)
    moved = then.epoch != stored.generation.epoch
    token = int(snapshot.token)
    found: dict[str, Row] = {}
    candidates = json.dumps(list(doc_ids), ensure_ascii=False)
    for record in connection.execute(_CANDIDATES, (stored.cid, candidates)):
        found[record[1]] = rows.row_of(uid, record)
        moved = moved or record[rows.DOCUMENT_WIDTH] > token
    return ledger.Visibility(found, moved)


def shown(connection: sqlite3.Connection, refs: Iterable[ledger.ChunkRef]) -> list[ledger.ShownChunk | None]:
    """The texts of hits, in one statement: after each one this thread waits for the interpreter."""
    wanted = list(refs)
    numbers = {uid: documents.collection_by_uid(connection, uid) for uid in {ref.key.collection_uid for ref in wanted}}
    named = [
        (None if stored is None else stored.cid, ref.key.document_id, ref.seq, ref.pipe, ref.index)
        for ref in wanted
        for stored in (numbers[ref.key.collection_uid],)
    ]
    found: list[ledger.ShownChunk | None] = [None] * len(wanted)
    for place, *record in connection.execute(_SHOWN, (json.dumps(named, ensure_ascii=False),)):
        ref = wanted[place]
        chunk, revision = tuple(record[: rows.CHUNK_WIDTH]), tuple(record[rows.CHUNK_WIDTH :])
        found[place] = ledger.ShownChunk(ref, rows.chunk_of(chunk), rows.revision_of(ref.key, revision))
    return found


def chunks(connection: sqlite3.Connection, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
    """All chunks of a version."""
    did = documents.number(connection, key)
    build = None if did is None else connection.execute(_BUILD, (did, seq, pipe)).fetchone()
    if build is None:
        return []
    first = build[0] << chunk_rows.INDEX_BITS
    last = first + (1 << chunk_rows.INDEX_BITS) - 1
    return [rows.chunk_of(record) for record in connection.execute(_CHUNKS, (first, last))]


def counts(connection: sqlite3.Connection, tenant: TenantId, uid: CollectionUid | None) -> dict[State, int]:
    """Documents by state, every state named."""
    statement = (
        "SELECT state, sum(documents) FROM tally JOIN collection USING (cid)"
        " WHERE tenant = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR uid = ?2) GROUP BY state"
    )
    return _by_state(connection.execute(statement, (tenant, uid)))


def _by_state(records: Iterable[rows.Record]) -> dict[State, int]:
    counted = dict.fromkeys(State, 0)
    counted.update({State(name): number for name, number in records})
    return counted


def oldest_pending(connection: sqlite3.Connection, tenant: TenantId, uid: CollectionUid | None) -> float | None:
    """When the change that waits longest was accepted."""
    statement = (
        "SELECT min((SELECT min(accepted_at) FROM document d"
        f" WHERE d.cid = c.cid AND {_PENDING})) FROM collection c"
        " WHERE tenant = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR uid = ?2)"
    )
    (oldest,) = connection.execute(statement, (tenant, uid)).fetchone()
    return None if oldest is None else float(oldest)


def batch_counts(
    connection: sqlite3.Connection, tenant: TenantId, batch_id: str, uid: CollectionUid | None
) -> dict[State, int]:
    """Documents of a batch; one that is forgotten, or never was there, counts as deleted."""
    statement = (
        "SELECT coalesce(d.state, 'deleted'), count(*) FROM (SELECT DISTINCT cid, doc FROM event WHERE batch_id = ?1) e"
        " JOIN collection c USING (cid) LEFT JOIN document d ON d.cid = e.cid AND d.doc = e.doc"
        " WHERE c.tenant = ?2 AND c.deleted_at IS NULL AND (?3 IS NULL OR c.uid = ?3) GROUP BY 1"
    )
    return _by_state(connection.execute(statement, (batch_id, tenant, uid)))
