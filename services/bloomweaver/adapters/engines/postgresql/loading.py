"""What a transaction reads before it decides: collections under a shared lock, documents under their rows' locks.

Two locks, always taken in this order and each in one sorted statement, so that replicas cannot wait for each other in
a ring: the collection's (shared; a change of its generation takes it alone, so no row is written by a generation that
is no longer the one), then the rows'. Everything else is read after them, in new snapshots (READ COMMITTED), so it is
what the last holder of the lock left.
"""

from collections.abc import Collection as Some
from collections.abc import Iterable, Sequence

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, documents, engine
from bloomweaver.domain.documents import DocumentKey, Version, VersionState
from bloomweaver.domain.identity import DocumentId

_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended(uid, 0)) FROM ({} ORDER BY c.uid) c"
_LOCK_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_COLLECTION = f"SELECT {rows.COLLECTION} FROM collection c"
BY_NAME = (
    "SELECT c.uid FROM unnest(%s::text[], %s::text[]) w(tenant, name)"
    " JOIN collection c ON c.tenant = w.tenant AND c.name = w.name AND c.deleted_at IS NULL"
)
BY_UID = "SELECT c.uid FROM collection c WHERE c.uid = ANY(%s::text[]) AND c.deleted_at IS NULL"
COLLECTIONS_BY_NAME = (
    f"{_COLLECTION} WHERE (tenant, name) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AND deleted_at IS NULL"
)
COLLECTIONS_BY_UID = f"{_COLLECTION} WHERE uid = ANY(%s::text[]) AND deleted_at IS NULL"
LOCK_BY_NAME = _LOCK_SHARED.format(BY_NAME)
LOCK_BY_UID = _LOCK_SHARED.format(BY_UID)

DOCUMENT_WIDTH = rows.DOCUMENT_WIDTH + 3
_DOCUMENT = f"SELECT {rows.of('d', rows.DOCUMENT)}, d.cid, d.litter_at, d.gone_at FROM document d"
_IN_ORDER = " ORDER BY d.cid, d.doc FOR UPDATE OF d"
_VERSION = f"SELECT v.did, {rows.of('v', rows.VERSION)} FROM version v WHERE v.did = ANY(%s::bigint[])"
_SOURCE = "SELECT did, seq, src, accepted_at FROM revision WHERE seq = ANY(%s::bigint[])"
_REVISION = f"SELECT did, {rows.REVISION} FROM revision WHERE seq = ANY(%s::bigint[])"
DOCUMENTS_BY_NAME = (
    f"{_DOCUMENT} JOIN collection c ON c.cid = d.cid AND c.deleted_at IS NULL"
    " JOIN unnest(%s::text[], %s::text[], %s::text[]) w(tenant, name, doc)"
    f" ON c.tenant = w.tenant AND c.name = w.name AND d.doc = w.doc{_IN_ORDER}"
)
_DOCUMENTS_BY_KEY = (
    f"{_DOCUMENT} JOIN collection c ON c.cid = d.cid AND c.deleted_at IS NULL"
    f" JOIN unnest(%s::text[], %s::text[]) w(uid, doc) ON c.uid = w.uid AND d.doc = w.doc{_IN_ORDER}"
)
_PEEKED_BY_NUMBER = f"{_DOCUMENT} WHERE d.did = ANY(%s::bigint[])"
_DOCUMENTS_BY_NUMBER = f"{_PEEKED_BY_NUMBER}{_IN_ORDER}"
_FREE_BY_NUMBER = f"{_DOCUMENTS_BY_NUMBER} SKIP LOCKED"
_UIDS_BY_NUMBER = (
    "SELECT DISTINCT c.uid FROM document d JOIN collection c USING (cid)"
    " WHERE d.did = ANY(%s::bigint[]) AND c.deleted_at IS NULL"
)

Stored = dict[int, rows.StoredCollection]


async def hold(tx: engine.Transaction, keys: Iterable[DocumentKey]) -> documents.Batch:
    """The documents of these keys that are there, with their versions and what those name."""
    wanted = list(dict.fromkeys(keys))
    batch = documents.Batch(tx.now)
    stored = await shared(tx, {key.collection_uid for key in wanted})
    if stored:
        values = (arrays.texts(k.collection_uid for k in wanted), arrays.texts(k.document_id for k in wanted))
        await _fill(tx, batch, stored, await tx.rows(_DOCUMENTS_BY_KEY, values))
    return batch


async def hold_numbers(tx: engine.Transaction, numbers: Iterable[int], *, free: bool = False) -> documents.Batch:
    """The documents of these numbers whose collections are still there. free: only those that nobody else holds."""
    return await _numbered(tx, numbers, _FREE_BY_NUMBER if free else _DOCUMENTS_BY_NUMBER)


async def peek_numbers(tx: engine.Transaction, numbers: Iterable[int]) -> documents.Batch:
    """The same as they are now, without a lock, to see which of them are worth holding."""
    return await _numbered(tx, numbers, _PEEKED_BY_NUMBER)


async def _numbered(tx: engine.Transaction, numbers: Iterable[int], statement: str) -> documents.Batch:
    dids = arrays.numbers(numbers)
    batch = documents.Batch(tx.now)
    stored = await shared(tx, {uid for (uid,) in await tx.rows(_UIDS_BY_NUMBER, (dids,))})
    if stored:
        await _fill(tx, batch, stored, await tx.rows(statement, (dids,)))
    return batch


async def shared(tx: engine.Transaction, uids: Some[str]) -> Stored:
    """Collections by number, whose generations stay as they are until the transaction ends."""
    wanted = (arrays.texts(uids),)
    async with tx.connection.pipeline():
        await tx.connection.execute(LOCK_BY_UID.encode(), wanted)
        found = await tx.connection.execute(COLLECTIONS_BY_UID.encode(), wanted)
    return by_number(await found.fetchall())


async def alone(tx: engine.Transaction, uid: str) -> rows.StoredCollection | None:
    """A collection that nobody else writes anything of until the transaction ends; None if it is not there."""
    await tx.run(_LOCK_ALONE, (uid,))
    return await collection(tx, uid)


async def collection(tx: engine.Transaction, uid: str) -> rows.StoredCollection | None:
    """As it is now; a deleted one is not found."""
    record = await tx.row(COLLECTIONS_BY_UID, (arrays.texts([uid]),))
    return None if record is None else rows.collection_of(record)


def by_number(records: Iterable[rows.Record]) -> Stored:
    """From `COLLECTION`."""
    return {stored.cid: stored for stored in map(rows.collection_of, records)}


def held_of(stored: rows.StoredCollection, record: rows.Record) -> documents.Held:
    """From `_DOCUMENT`, the versions still to come."""
    row = rows.row_of(stored.collection.uid, record)
    _, litter_at, gone_at = record[rows.DOCUMENT_WIDTH : DOCUMENT_WIDTH]
    return documents.Held(record[0], stored, row, [], litter_at, gone_at)


async def _fill(tx: engine.Transaction, batch: documents.Batch, stored: Stored, records: Sequence[rows.Record]) -> None:
    for record in records:
        if (of := stored.get(record[rows.DOCUMENT_WIDTH])) is not None:
            held = held_of(of, record)
            batch.held[held.row.key] = held
    await add_versions(tx, batch.held.values())
    await add_sources(tx, batch.held.values())


async def add_versions(tx: engine.Transaction, held: Iterable[documents.Held]) -> None:
    """All that were built, the gone ones that are not forgotten included."""
    by_did = {one.did: one for one in held}
    if by_did:
        for record in await tx.rows(_VERSION, (arrays.numbers(by_did),)):
            one = by_did[record[0]]
            one.versions.append(version_of(one.row.key, record))


def version_of(key: DocumentKey, record: rows.Record) -> Version:
    """From a record that begins with the document's number."""
    return rows.version_of(key, record[1:])


async def add_sources(tx: engine.Transaction, held: Iterable[documents.Held]) -> None:
    """Order keys of what versions and `live` name."""
    by_did = {one.did: one for one in held}
    seqs = {v.seq for one in by_did.values() for v in one.versions if v.state is not VersionState.GONE}
    seqs |= {one.row.live for one in by_did.values() if one.row.live}
    if seqs:
        for did, seq, src, accepted_at in await tx.rows(_SOURCE, (arrays.numbers(seqs),)):
            if did in by_did:
                by_did[did].sources[seq] = (src, accepted_at)


async def add_desired(tx: engine.Transaction, held: Iterable[documents.Held]) -> None:
    """What was last sent, whole."""
    by_did = {one.did: one for one in held}
    if by_did:
        seqs = arrays.numbers(one.row.seq for one in by_did.values())
        for record in await tx.rows(_REVISION, (seqs,)):
            one = by_did[record[0]]
            revision = rows.revision_of(one.row.key, record[1:])
            one.revisions[revision.seq] = revision


async def number(tx: engine.Transaction, key: DocumentKey) -> int | None:
    """The document's number inside the database."""
    record = await tx.row(
        "SELECT did FROM document JOIN collection USING (cid) WHERE uid = %s AND deleted_at IS NULL AND doc = %s",
        (key.collection_uid, DocumentId(key.document_id)),
    )
    return None if record is None else int(record[0])
