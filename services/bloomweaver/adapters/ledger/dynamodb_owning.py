"""Whose is it: what the sweep and the audit ask about ids and blobs that they found (R13), on DynamoDB.

A name that a store or a folder holds leads to its document by an item that was written in the transaction that gave the
name; the document's row then says what it is. All of it is read consistently: what the sweep is told may go, may go.
"""

from collections.abc import Sequence

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, scanning
from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import DocumentKey, Version, VersionState
from bloomweaver.domain.identity import CollectionUid, DocumentId
from bloomweaver.ports import healing

_PROCESSED = "/processed/"


async def _living(opened: engine.Engine, uid: CollectionUid) -> items.StoredCollection | None:
    item = await opened.one(keys.collection(uid))
    return None if item is None else items.collection_of(item)


async def owners(
    opened: engine.Engine, uid: CollectionUid, names: Sequence[tuple[str, int, str]], *, now: float
) -> list[healing.Owned]:
    """For each (doc16, seq, pipe8): the version, and whether its vectors may go. Nobody's may."""
    stored = await _living(opened, uid)
    if stored is None:
        return [healing.Owned(None, due=True) for _ in names]
    doc16s = list(dict.fromkeys(doc16 for doc16, _, _ in names))
    owned = await opened.together([opened.all(keys.owner_of_document(uid, doc16)) for doc16 in doc16s])
    documents_of = {
        doc16: [DocumentKey(uid, DocumentId(item["sk"]["S"])) for item in page]
        for doc16, page in zip(doc16s, owned, strict=True)
    }
    wanted = [key for page in documents_of.values() for key in page]
    read = await opened.get([keys.row(key) for key in wanted])
    helds = {
        key: documents.load(stored, items.Gate(0, 0), item)
        for key, item in zip(wanted, read, strict=True)
        if item is not None
    }
    return [
        _owned([helds[key] for key in documents_of[doc16] if key in helds], seq, pipe8, now=now)
        for doc16, seq, pipe8 in names
    ]


def _owned(helds: Sequence[documents.Held], seq: int, pipe8: str, *, now: float) -> healing.Owned:
    for held in helds:
        for version in held.versions:
            # One whose revision is forgotten is nobody's: what is left of it is a name in the row.
            if version.seq == seq and version.pipe[:8] == pipe8:
                gone = version.state is VersionState.GONE
                return healing.Owned(version, due=gone or steps.removal_due(version, held.row, now=now))
    return healing.Owned(None, due=True)


async def owned_blobs(opened: engine.Engine, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
    """Those that a revision or a standing version names. A build's name is the last part of its blob's."""
    stored = await _living(opened, uid)
    if stored is None:
        return set()
    builds = {blob: identity.BuildId(blob.rpartition("/")[2]) for blob in blobs if _PROCESSED in blob}
    names = [
        keys.owner_of_build(uid, builds[blob]) if blob in builds else keys.owner_of_blob(uid, blob) for blob in blobs
    ]
    marks = dict(zip(blobs, await opened.get(names), strict=True))
    named = {
        blob: DocumentKey(uid, DocumentId(mark["document"]["S"])) for blob, mark in marks.items() if mark is not None
    }
    rows = await opened.get([keys.row(key) for key in named.values()])
    owned: set[str] = set()
    for (blob, key), row in zip(named.items(), rows, strict=True):
        if row is None:
            continue
        if blob in builds:
            versions = documents.load(stored, items.Gate(0, 0), row).versions
            if any(v.build == builds[blob] and v.state is not VersionState.GONE for v in versions):
                owned.add(blob)
        elif await _names(opened, key, blob):
            owned.add(blob)
    return owned


async def _names(opened: engine.Engine, key: DocumentKey, blob: str) -> bool:
    revisions = await opened.all(keys.document(key), begins=keys.REVISION, only=("blob",))
    return any("blob" in item and item["blob"]["S"] == blob for item in revisions)


async def swept(opened: engine.Engine, uid: CollectionUid, *, began_at: float) -> None:
    """After a sweep every document is looked at once more, whatever the indexes of what is due say."""
    values = {":began": items.number(began_at)}
    later = "attribute_exists(pk) AND attribute_not_exists(deleted_at)"
    later += " AND (attribute_not_exists(swept_began_at) OR swept_began_at < :began)"
    try:
        await opened.update(keys.collection(uid), "SET swept_began_at = :began", values, condition=later)
    except engine.Conflict:
        if await _living(opened, uid) is None:
            return
    again = "SET backfill = if_not_exists(backfill, :start), bury = if_not_exists(bury, :start)"
    await opened.update((keys.SCANS, uid), again, {":start": items.text("")})


async def go_on(
    opened: engine.Engine, scan: items.Item, name: str, cursor: str | None, *, at: float | None = None
) -> None:
    """Where a scan goes on next time; None: it is through. One that was begun anew meanwhile stays where it is."""
    values = {":was": scan[name]}
    sets = []
    if cursor is not None:
        sets.append("#cursor = :cursor")
        values[":cursor"] = items.text(cursor)
    if at is not None:
        sets.append("backfilled_at = :at")
        values[":at"] = items.number(at)
    expression = f"SET {', '.join(sets)}" if sets else ""
    if cursor is None:
        expression += " REMOVE #cursor"
    try:
        await opened.update(
            items.key_of(scan), expression.strip(), values, names={"#cursor": name}, condition="#cursor = :was"
        )
    except engine.Conflict:
        return


async def versions(opened: engine.Engine, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
    """A page: whole documents, by document_id."""
    stored = await _living(opened, uid)
    found: list[Version] = []
    if stored is None:
        return found
    async for item in scanning.ordered(opened, uid, after=after, expected=limit):
        found += documents.load(stored, items.Gate(0, 0), item).versions
        if len(found) >= limit:
            break
    return found
