"""Whose is it: what the sweep and the audit ask about ids and blobs that they found (R13)."""

import json
import sqlite3
from collections.abc import Sequence

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import documents
from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import DocumentKey, Version, VersionState
from bloomweaver.domain.identity import CollectionUid, DocumentId
from bloomweaver.ports import healing

_OWNER = (
    f"SELECT {rows.of('d', rows.DOCUMENT)}, {rows.of('v', rows.VERSION)}"
    " FROM revision r JOIN document d ON d.did = r.did JOIN version v ON v.did = r.did AND v.seq = r.seq"
    " WHERE r.seq = ? AND d.cid = ? AND substr(v.pipe, 1, 8) = ?"
)
_RAW = "SELECT DISTINCT blob FROM revision WHERE blob IN (SELECT value FROM json_each(?))"
_BUILDS = (
    "SELECT DISTINCT b.build FROM build b JOIN version v ON v.did = b.did AND v.pipe = b.pipe AND v.build = b.build"
    " WHERE b.build IN (SELECT value FROM json_each(?)) AND v.state <> 'gone'"
)
_WITH_VERSIONS = (
    "SELECT did, doc FROM document d WHERE cid = ? AND doc > ?"
    " AND EXISTS (SELECT 1 FROM version v WHERE v.did = d.did) ORDER BY doc"
)


def owners(
    connection: sqlite3.Connection, uid: CollectionUid, names: Sequence[tuple[str, int, str]], *, now: float
) -> list[healing.Owned]:
    """For each (doc16, seq, pipe8): the version, and whether its vectors may go. Nobody's may."""
    stored = documents.collection_by_uid(connection, uid)
    if stored is None:
        return [healing.Owned(None, due=True) for _ in names]
    return [_owner(connection, stored, name, now=now) for name in names]


def _owner(
    connection: sqlite3.Connection, stored: rows.StoredCollection, name: tuple[str, int, str], *, now: float
) -> healing.Owned:
    doc16, seq, pipe8 = name
    record = connection.execute(_OWNER, (seq, stored.cid, pipe8)).fetchone()
    if record is None or identity.document_key(record[1]) != doc16:
        return healing.Owned(None, due=True)
    row = rows.row_of(stored.collection.uid, record)
    version = rows.version_of(row.key, record[rows.DOCUMENT_WIDTH :])
    gone = version.state is VersionState.GONE
    return healing.Owned(version, due=gone or steps.removal_due(version, row, now=now))


def owned_blobs(connection: sqlite3.Connection, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
    """Those that a revision or a standing version names. A build's name is the last part of its blob's."""
    if documents.collection_by_uid(connection, uid) is None:
        return set()
    builds = {blob.rpartition("/")[2]: blob for blob in blobs if "/processed/" in blob}
    owned = {str(name) for (name,) in connection.execute(_RAW, (json.dumps(list(blobs)),))}
    named = connection.execute(_BUILDS, (json.dumps(list(builds)),))
    return owned | {builds[name] for (name,) in named}


def swept(connection: sqlite3.Connection, uid: CollectionUid, *, began_at: float) -> None:
    """After a sweep every document is looked at once more, whatever the indexes of what is due say."""
    connection.execute(
        "UPDATE collection SET swept_began_at = max(coalesce(swept_began_at, 0), ?),"
        " backfill_cursor = coalesce(backfill_cursor, ''), bury_cursor = coalesce(bury_cursor, '')"
        " WHERE uid = ? AND deleted_at IS NULL",
        (began_at, uid),
    )


def versions(connection: sqlite3.Connection, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
    """A page: whole documents, by document_id."""
    stored = documents.collection_by_uid(connection, uid)
    if stored is None:
        return []
    found: list[Version] = []
    for did, doc in connection.execute(_WITH_VERSIONS, (stored.cid, after)):
        found += documents.versions_of(connection, did, DocumentKey(uid, DocumentId(doc)))
        if len(found) >= limit:
            break
    return found
