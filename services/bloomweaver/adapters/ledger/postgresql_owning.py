"""Whose is it: what the sweep and the audit ask about ids and blobs that they found (R13)."""

from collections.abc import Sequence

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, engine, loading
from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import DocumentKey, Version, VersionState
from bloomweaver.domain.identity import CollectionUid, DocumentId
from bloomweaver.ports import healing

_OWNERS = (
    f"SELECT w.number, {rows.of('d', rows.DOCUMENT)}, {rows.of('v', rows.VERSION)}"
    " FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY w(seq, pipe8, number) JOIN revision r ON r.seq = w.seq"
    " JOIN document d ON d.did = r.did AND d.cid = %s"
    " JOIN version v ON v.did = r.did AND v.seq = r.seq AND left(v.pipe, 8) = w.pipe8"
)
_RAW = "SELECT DISTINCT blob FROM revision WHERE blob = ANY(%s::text[])"
_BUILDS = (
    "SELECT DISTINCT b.build FROM build b JOIN version v ON v.did = b.did AND v.pipe = b.pipe AND v.build = b.build"
    " WHERE b.build = ANY(%s::text[]) AND v.state <> 'gone'"
)
_SWEPT = (
    "UPDATE collection SET swept_began_at = greatest(swept_began_at, %s),"
    " backfill_cursor = coalesce(backfill_cursor, ''), bury_cursor = coalesce(bury_cursor, '')"
    " WHERE uid = %s AND deleted_at IS NULL"
)
_WITH_VERSIONS = (
    "SELECT d.did, d.doc FROM document d WHERE d.cid = %s AND d.doc > %s"
    " AND EXISTS (SELECT 1 FROM version v WHERE v.did = d.did) ORDER BY d.doc LIMIT %s"
)
_VERSIONS = f"SELECT v.did, {rows.of('v', rows.VERSION)} FROM version v WHERE v.did = ANY(%s::bigint[])"


async def owners(
    tx: engine.Transaction, uid: CollectionUid, names: Sequence[tuple[str, int, str]]
) -> list[healing.Owned]:
    """For each (doc16, seq, pipe8): the version, and whether its vectors may go. Nobody's may."""
    owned = [healing.Owned(None, due=True) for _ in names]
    stored = await loading.collection(tx, uid)
    if stored is None:
        return owned
    values = (arrays.numbers(seq for _, seq, _ in names), arrays.texts(pipe8 for _, _, pipe8 in names), stored.cid)
    for number, *record in await tx.rows(_OWNERS, values):
        row = rows.row_of(uid, tuple(record))
        if identity.document_key(row.key.document_id) != names[number - 1][0]:
            continue
        version = rows.version_of(row.key, tuple(record[rows.DOCUMENT_WIDTH :]))
        due = version.state is VersionState.GONE or steps.removal_due(version, row, now=tx.now)
        owned[number - 1] = healing.Owned(version, due=due)
    return owned


async def owned_blobs(tx: engine.Transaction, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
    """Those that a revision or a standing version names. A build's name is the last part of its blob's."""
    if await loading.collection(tx, uid) is None:
        return set()
    builds = {blob.rpartition("/")[2]: blob for blob in blobs if "/processed/" in blob}
    owned = {str(name) for (name,) in await tx.rows(_RAW, (arrays.texts(blobs),))}
    named = await tx.rows(_BUILDS, (arrays.texts(builds),))
    return owned | {builds[name] for (name,) in named}


async def swept(tx: engine.Transaction, uid: CollectionUid, *, began_at: float) -> None:
    """After a sweep every document is looked at once more, whatever the indexes of what is due say."""
    await tx.run(_SWEPT, (began_at, uid))


async def versions(tx: engine.Transaction, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
    """A page: whole documents, by document_id."""
    stored = await loading.collection(tx, uid)
    if stored is None:
        return []
    page = await tx.rows(_WITH_VERSIONS, (stored.cid, after, limit))
    keys = {did: DocumentKey(uid, DocumentId(doc)) for did, doc in page}
    of_each: dict[int, list[Version]] = {did: [] for did in keys}
    for record in await tx.rows(_VERSIONS, (arrays.numbers(keys),)):
        of_each[record[0]].append(loading.version_of(keys[record[0]], record))
    found: list[Version] = []
    for built in of_each.values():
        found += built
        if len(found) >= limit:
            break
    return found
