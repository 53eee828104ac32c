"""What services ask the ledger. Every read is of one moment, on the primary: one statement, or a transaction that sees
a single snapshot."""

from collections.abc import Collection as Some
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, engine, loading
from bloomweaver.domain import steps
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Generation, Revision, Row, State, Version
from bloomweaver.domain.events import Step, StoredEvent
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId
from bloomweaver.ports import ledger

_CHUNK = f"index, {rows.CHUNK_BESIDE_INDEX}"
_PENDING = "d.live <> d.seq AND NOT d.tomb AND NOT d.failed"  # what the index document_pending holds
_WANTED = "FROM unnest(%s::text[], %s::text[]) w(uid, doc) JOIN collection c ON c.uid = w.uid AND c.deleted_at IS NULL"
_DOCUMENT = rows.of("d", rows.DOCUMENT)
_EVENT = (
    f"SELECT {rows.of('e', rows.EVENT)} FROM event e JOIN collection c USING (cid)"
    " WHERE c.uid = %s AND c.deleted_at IS NULL AND e.source = %s AND e.event_id = %s"
)
_ROWS = f"SELECT c.uid, {_DOCUMENT} {_WANTED} JOIN document d ON d.cid = c.cid AND d.doc = w.doc"
_VERSIONS = f"SELECT did, {rows.VERSION} FROM version WHERE did = ANY(%s::bigint[])"
_REVISIONS = (
    f"SELECT did, {rows.REVISION} FROM revision WHERE seq = ANY(%s::bigint[]) AND did = ANY(%s::bigint[]) ORDER BY seq"
)
_SNAPSHOT = "SELECT pg_current_snapshot()::text"
_GENERATIONS = (
    f"SELECT {_SNAPSHOT.removeprefix('SELECT ')}, n.position, {rows.of('c', rows.COLLECTION)} FROM collection c"
    " LEFT JOIN namespace n ON n.cid = c.cid AND n.pipe = c.active::json->>0"
    " WHERE c.uid = ANY(%s::text[]) AND c.deleted_at IS NULL"
)
# A row that a transaction flipped after the snapshot, or while it was taken. An id that this server has not given yet
# is from before a restore, and tells nothing.
_CANDIDATES = (
    f"SELECT c.epoch, d.flipped_by IS NOT NULL AND d.flipped_by < pg_snapshot_xmax(pg_current_snapshot())"
    f" AND NOT pg_visible_in_snapshot(d.flipped_by, %s::pg_snapshot), {_DOCUMENT}"
    " FROM collection c LEFT JOIN (document d JOIN unnest(%s::text[]) w(doc) ON d.doc = w.doc) ON d.cid = c.cid"
    " WHERE c.uid = %s AND c.deleted_at IS NULL"
)
_BUILD = (
    "JOIN document d ON d.cid = c.cid AND d.doc = w.doc JOIN version v ON v.did = d.did AND v.seq = w.seq"
    " AND v.pipe = w.pipe AND v.state <> 'gone' JOIN build b ON b.did = d.did AND b.pipe = v.pipe AND b.build = v.build"
)
_SHOWN_REVISION = rows.of("r", rows.REVISION.removesuffix(", text"))
# A hit needs title, link and metadata of its revision; the whole text, up to 64 kB, stays where it is.
_SHOWN = (
    f"SELECT w.number, {rows.of('k', _CHUNK)}, {_SHOWN_REVISION}, NULL"
    " FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::integer[]) WITH ORDINALITY"
    " w(uid, doc, seq, pipe, index, number)"
    f" JOIN collection c ON c.uid = w.uid AND c.deleted_at IS NULL {_BUILD}"
    " JOIN chunk k ON k.bid = b.bid AND k.index = w.index JOIN revision r ON r.seq = w.seq AND r.did = d.did"
)
_CHUNKS = (
    f"SELECT {rows.of('k', _CHUNK)} FROM (SELECT %s::text, %s::text, %s::bigint, %s::text) w(uid, doc, seq, pipe)"
    f" JOIN collection c ON c.uid = w.uid AND c.deleted_at IS NULL {_BUILD}"
    " JOIN chunk k ON k.bid = b.bid ORDER BY k.index"
)
_OF_TENANT = "c.tenant = %s AND c.deleted_at IS NULL AND c.uid = coalesce(%s, c.uid)"
_COUNTS = (
    f"SELECT t.state, sum(t.documents)::bigint FROM tally t JOIN collection c USING (cid) WHERE {_OF_TENANT} GROUP BY 1"
)
_OLDEST = (
    f"SELECT min((SELECT min(d.accepted_at) FROM document d WHERE d.cid = c.cid AND {_PENDING}))"
    f" FROM collection c WHERE {_OF_TENANT}"
)
_BATCH = (
    "SELECT coalesce(d.state, 'deleted'), count(*) FROM (SELECT DISTINCT cid, doc FROM event WHERE batch_id = %s) e"
    " JOIN collection c USING (cid) LEFT JOIN document d ON d.cid = e.cid AND d.doc = e.doc"
    f" WHERE {_OF_TENANT} GROUP BY 1"
)


async def event(engine: engine.Engine, uid: CollectionUid, source: str, event_id: str) -> StoredEvent | None:
    """One line of the inbox."""
    found = await engine.fetch(_EVENT, (uid, source, event_id))
    return rows.event_of(uid, found[0]) if found else None


@dataclass(frozen=True, slots=True)
class _Read:
    """Rows and versions of some documents, of one moment. found: (did, row); versions: by did."""

    collections: dict[CollectionUid, rows.StoredCollection]
    found: dict[DocumentKey, tuple[int, Row]]
    versions: dict[int, list[Version]]


async def _read(tx: engine.Transaction, keys: Sequence[DocumentKey]) -> _Read:
    uids = (arrays.texts({key.collection_uid for key in keys}),)
    known = map(rows.collection_of, await tx.rows(loading.COLLECTIONS_BY_UID, uids))
    collections = {stored.collection.uid: stored for stored in known}
    found: dict[DocumentKey, tuple[int, Row]] = {}
    for uid, *record in await tx.rows(_ROWS, _columns(keys)):
        row = rows.row_of(CollectionUid(uid), tuple(record))
        found[row.key] = (record[0], row)
    by_did = dict(found.values())
    versions: dict[int, list[Version]] = {did: [] for did in by_did}
    for built in await tx.rows(_VERSIONS, (arrays.numbers(by_did),)):
        versions[built[0]].append(loading.version_of(by_did[built[0]].key, built))
    return _Read(collections, found, versions)


async def look(tx: engine.Transaction, keys: Sequence[DocumentKey]) -> list[ledger.Look | None]:
    """All that a worker needs of each document."""
    read = await _read(tx, keys)
    revisions = await _revisions(tx, dict(read.found.values()), read.versions)
    looks: list[ledger.Look | None] = []
    for key in keys:
        if key not in read.found:
            looks.append(None)
            continue
        did, row = read.found[key]
        stored = read.collections[key.collection_uid]
        of_it = (row, tuple(read.versions[did]), tuple(revisions[did]))
        looks.append(ledger.Look(tx.now, stored.collection, stored.generation, *of_it))
    return looks


async def needed(tx: engine.Transaction, keys: Sequence[DocumentKey]) -> list[tuple[Step, ...]]:
    """What each document needs next."""
    read = await _read(tx, keys)
    needs: dict[DocumentKey, tuple[Step, ...]] = {}
    for key, (did, row) in read.found.items():
        needs[key] = steps.next_steps(row, read.versions[did], read.collections[key.collection_uid].generation)
    return [needs.get(key, ()) for key in keys]


async def _revisions(
    tx: engine.Transaction, by_did: dict[int, Row], versions: dict[int, list[Version]]
) -> dict[int, list[Revision]]:
    seqs = {seq for row in by_did.values() for seq in (row.seq, row.live)}
    seqs |= {v.seq for built in versions.values() for v in built if v.state is not v.state.GONE}
    sent: dict[int, list[Revision]] = {did: [] for did in by_did}
    for record in await tx.rows(_REVISIONS, (arrays.numbers(seqs), arrays.numbers(by_did))):
        sent[record[0]].append(rows.revision_of(by_did[record[0]].key, record[1:]))
    return sent


def _columns(keys: Iterable[DocumentKey]) -> tuple[str, str]:
    wanted = list(dict.fromkeys(keys))
    return arrays.texts(k.collection_uid for k in wanted), arrays.texts(k.document_id for k in wanted)


async def rows_of(engine: engine.Engine, keys: Sequence[DocumentKey]) -> list[Row | None]:
    """The rows alone."""
    found = {}
    for uid, *record in await engine.fetch(_ROWS, _columns(keys)):
        row = rows.row_of(CollectionUid(uid), tuple(record))
        found[row.key] = row
    return [found.get(key) for key in keys]


async def listed(engine: engine.Engine, listing: ledger.Listing) -> list[tuple[Row, Revision]]:
    """A page of documents with their desired revision."""
    wheres = ["c.uid = %(uid)s AND c.deleted_at IS NULL", "d.doc > %(after)s"]
    values: dict[str, object] = {"uid": listing.collection_uid, "after": listing.after, "limit": listing.limit}
    if listing.state is None:
        wheres.append("NOT d.tomb")
    else:
        wheres.append("d.state = 'failed'" if listing.state is State.FAILED else "d.state = %(state)s")
        values["state"] = str(listing.state)
    if listing.prefix:
        wheres.append("d.doc >= %(prefix)s AND starts_with(d.doc, %(prefix)s)")
        values["prefix"] = listing.prefix
    if listing.since is not None:
        wheres.append("d.accepted_at >= %(since)s")
        values["since"] = listing.since
    if listing.origin is not None:
        wheres.append("r.origin = %(origin)s")
        values["origin"] = listing.origin
    statement = (
        f"SELECT {_DOCUMENT}, {rows.of('r', rows.REVISION)} FROM collection c JOIN document d USING (cid)"
        f" JOIN revision r ON r.seq = d.seq WHERE {' AND '.join(wheres)} ORDER BY d.doc LIMIT %(limit)s"
    )
    page = []
    for record in await engine.fetch(statement, values):
        row = rows.row_of(listing.collection_uid, record)
        page.append((row, rows.revision_of(row.key, record[rows.DOCUMENT_WIDTH :])))
    return page


async def snapshot(engine: engine.Engine, uids: Some[CollectionUid]) -> ledger.Snapshot:
    """R11: the server's snapshot, and what each collection is kept in."""
    found = await engine.fetch(_GENERATIONS, (arrays.texts(uids),))
    if not found:
        ((token,),) = await engine.fetch(_SNAPSHOT)
        return ledger.Snapshot(ledger.SnapshotToken(token), {}, {})
    generations: dict[CollectionUid, Generation] = {}
    positions: dict[CollectionUid, int] = {}
    for _, position, *record in found:
        stored = rows.collection_of(tuple(record))
        generations[stored.collection.uid] = stored.generation
        if position is not None:
            positions[stored.collection.uid] = position
    return ledger.Snapshot(ledger.SnapshotToken(found[0][0]), generations, positions)


async def visible(
    engine: engine.Engine, uid: CollectionUid, doc_ids: Sequence[str], snapshot: ledger.Snapshot
) -> ledger.Visibility:
    """R10, R11: the candidates' rows, and whether what they show changed since the snapshot."""
    then = snapshot.generations.get(uid)
    if then is None:
        return ledger.Visibility({}, moved=True)
    found = await engine.fetch(_CANDIDATES, (snapshot.token, arrays.texts(dict.fromkeys(doc_ids)), uid))
    if not found:
        return ledger.Visibility({}, moved=True)
    moved = any(epoch != then.epoch or flipped for epoch, flipped, *_ in found)
    candidates = (rows.row_of(uid, tuple(record)) for _, _, *record in found if record[0] is not None)
    return ledger.Visibility({str(row.key.document_id): row for row in candidates}, moved)


async def shown(engine: engine.Engine, refs: Sequence[ledger.ChunkRef]) -> list[ledger.ShownChunk | None]:
    """The texts of hits."""
    values = (
        arrays.texts(ref.key.collection_uid for ref in refs),
        arrays.texts(ref.key.document_id for ref in refs),
        arrays.numbers(ref.seq for ref in refs),
        arrays.texts(ref.pipe for ref in refs),
        arrays.numbers(ref.index for ref in refs),
    )
    found: list[ledger.ShownChunk | None] = [None] * len(refs)
    for number, *record in await engine.fetch(_SHOWN, values):
        ref = refs[number - 1]
        chunk, sent = tuple(record[: rows.CHUNK_WIDTH]), tuple(record[rows.CHUNK_WIDTH :])
        found[number - 1] = ledger.ShownChunk(ref, rows.chunk_of(chunk), rows.revision_of(ref.key, sent))
    return found


async def chunks(engine: engine.Engine, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
    """All chunks of a version."""
    found = await engine.fetch(_CHUNKS, (key.collection_uid, key.document_id, seq, pipe))
    return [rows.chunk_of(record) for record in found]


async def counts(engine: engine.Engine, tenant: TenantId, uid: CollectionUid | None) -> dict[State, int]:
    """Documents by state, every state named."""
    return _by_state(await engine.fetch(_COUNTS, (tenant, uid)))


def _by_state(records: Iterable[rows.Record]) -> dict[State, int]:
    counted = dict.fromkeys(State, 0)
    counted.update({State(name): number for name, number in records})
    return counted


async def oldest_pending(engine: engine.Engine, tenant: TenantId, uid: CollectionUid | None) -> float | None:
    """When the change that waits longest was accepted."""
    ((oldest,),) = await engine.fetch(_OLDEST, (tenant, uid))
    return None if oldest is None else float(oldest)


async def batch_counts(
    engine: engine.Engine, tenant: TenantId, batch_id: str, uid: CollectionUid | None
) -> dict[State, int]:
    """Documents of a batch; one that is forgotten, or never was there, counts as deleted."""
    return _by_state(await engine.fetch(_BATCH, (batch_id, tenant, uid)))
