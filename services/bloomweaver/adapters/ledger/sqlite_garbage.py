"""What nothing names any more, and its end (R16).

`litter_at` says when to look at a document again; what may go is decided then, from the rows alone, and once more when
it goes. Blobs are given first and rows dropped after, so that a crash in between leaves no blob that nobody knows.
"""

import sqlite3
from collections.abc import Iterable, Iterator

from bloomweaver.adapters.engines.sqlite import documents
from bloomweaver.adapters.ledger import sqlite_accepting
from bloomweaver.domain import identity
from bloomweaver.domain.documents import VersionState
from bloomweaver.domain.identity import BuildId, CollectionUid, Pipe, TenantId
from bloomweaver.ports import healing

TOMBSTONE_KEPT_SECONDS = 30 * 86_400.0
EVENT_KEPT_SECONDS = 7 * 86_400.0
STEP_KEPT_SECONDS = 30 * 86_400.0
OFFERED_AGAIN_SECONDS = 60.0
SWEEP_AWAITED_SECONDS = 3600.0

_LITTER = "SELECT did, cid FROM document WHERE litter_at <= ? ORDER BY litter_at LIMIT ?"
_CHUNKS_OF = "DELETE FROM chunk WHERE id BETWEEN ?1 << 20 AND (?1 << 20) + 1048575"  # the build's range of ids


def garbage(connection: sqlite3.Connection, *, limit: int, now: float) -> list[healing.Garbage]:
    """Whole documents until `limit` is reached."""
    found: list[healing.Garbage] = []
    for did, cid in connection.execute(_LITTER, (now, limit)).fetchall():
        held = documents.hold_number(connection, cid, did)
        if held is None:
            documents.littered(connection, did, at=None)
            continue
        litter = list(_litter(connection, held, now=now))
        again = now + OFFERED_AGAIN_SECONDS if litter else _next_look(held, now=now)
        documents.littered(connection, did, at=again)
        found += litter
        if len(found) >= limit:
            break
    return found


def _litter(connection: sqlite3.Connection, held: documents.Held, *, now: float) -> Iterator[healing.Garbage]:
    key = held.row.key
    revisions = _revisions(connection, held, now=now)
    for seq, blob in revisions.items():
        blobs = (blob,) if blob is not None and _named_by(connection, blob) <= set(revisions) else ()
        yield healing.Garbage(key, blobs, revision=seq)
    builds = _builds(connection, held)
    for pipe, build in builds:
        (deployment,) = connection.execute("SELECT name FROM deployment").fetchone()
        blob = identity.build_blob_key(deployment, key.collection_uid, pipe=pipe, build=build)
        yield healing.Garbage(key, (blob,), build=(pipe, build))
    if not revisions and not builds and _purgeable(connection, held, now=now):
        yield healing.Garbage(key, purge=True)


def _revisions(connection: sqlite3.Connection, held: documents.Held, *, now: float) -> dict[int, str | None]:
    """Revisions (and their blobs) that are never shown or built again; of a deleted document all but the tombstone.

    What no version stands for is only built where it is the desired or the live one, whatever is shown meanwhile.
    """
    row = held.row
    if row.tomb:
        if now < row.accepted_at + sqlite_accepting.TEXT_KEPT_SECONDS:
            return {}
        found = connection.execute("SELECT seq, blob FROM revision WHERE did = ? AND seq <> ?", (held.did, row.seq))
        return dict(found.fetchall())
    standing = {v.seq for v in held.versions if v.state is not VersionState.GONE}
    found = connection.execute("SELECT seq, blob FROM revision WHERE did = ? AND seq < ?", (held.did, row.seq))
    return {seq: blob for seq, blob in found if seq != row.live and seq not in standing}


def _named_by(connection: sqlite3.Connection, blob: str) -> set[int]:
    """Revisions that name the blob: after a PATCH the new one names the blob of the old one."""
    return {seq for (seq,) in connection.execute("SELECT seq FROM revision WHERE blob = ?", (blob,))}


def _builds(connection: sqlite3.Connection, held: documents.Held) -> list[tuple[Pipe, BuildId]]:
    standing = {(v.pipe, v.build) for v in held.versions if v.state is not VersionState.GONE}
    found = connection.execute("SELECT pipe, build FROM build WHERE did = ?", (held.did,))
    return [(pipe, build) for pipe, build in found if (pipe, build) not in standing]


def _purgeable(connection: sqlite3.Connection, held: documents.Held, *, now: float) -> bool:
    """A tombstone ends when nothing that was sent before it can still arrive anywhere."""
    row = held.row
    if not row.tomb or now < row.accepted_at + TOMBSTONE_KEPT_SECONDS:
        return False
    if any(v.state is not VersionState.GONE for v in held.versions):
        return False
    statement = (
        "SELECT swept_began_at > coalesce(gone_at, accepted_at) FROM document JOIN collection USING (cid) WHERE did = ?"
    )
    (swept,) = connection.execute(statement, (held.did,)).fetchone()
    return bool(swept)


def _next_look(held: documents.Held, *, now: float) -> float | None:
    """Where nothing is garbage yet but will be by time alone; all else looks again when it happens."""
    row = held.row
    if not row.tomb:
        return None
    text_ends = row.accepted_at + sqlite_accepting.TEXT_KEPT_SECONDS
    ends = row.accepted_at + TOMBSTONE_KEPT_SECONDS
    return next((at for at in (text_ends, ends) if at > now), now + SWEEP_AWAITED_SECONDS)


def forget(connection: sqlite3.Connection, items: Iterable[healing.Garbage], *, now: float) -> None:
    """Drop what is still garbage."""
    for item in items:
        held = documents.hold(connection, item.key)
        if held is None or not any(
            (item.revision, item.build, item.purge) == (known.revision, known.build, known.purge)
            for known in _litter(connection, held, now=now)
        ):
            continue
        if item.purge:
            _drop_document(connection, held.did)
            continue
        if item.revision is not None:
            _drop_revision(connection, held.did, item.revision)
        if item.build is not None:
            _drop_builds(connection, held.did, item.build)
        documents.littered(connection, held.did, at=now)


def _drop_revision(connection: sqlite3.Connection, did: int, seq: int) -> None:
    connection.execute("DELETE FROM revision WHERE seq = ?", (seq,))
    connection.execute("DELETE FROM version WHERE did = ? AND seq = ? AND state = 'gone'", (did, seq))


def _drop_builds(connection: sqlite3.Connection, did: int, only: tuple[Pipe, BuildId] | None = None) -> None:
    for bid, pipe, build in connection.execute("SELECT bid, pipe, build FROM build WHERE did = ?", (did,)).fetchall():
        if only is None or only == (pipe, build):
            connection.execute(_CHUNKS_OF, (bid,))
            connection.execute("DELETE FROM build WHERE bid = ?", (bid,))


def _drop_document(connection: sqlite3.Connection, did: int) -> None:
    _drop_builds(connection, did)
    for table in ("version", "revision", "step", "document"):
        connection.execute(f"DELETE FROM {table} WHERE did = ?", (did,))


def retired(connection: sqlite3.Connection) -> list[healing.Retired]:
    """Collections whose name is free and whose rows are not."""
    found = connection.execute("SELECT cid, uid, tenant FROM collection WHERE deleted_at IS NOT NULL").fetchall()
    return [
        healing.Retired(CollectionUid(uid), TenantId(tenant), _pipes(connection, cid)) for cid, uid, tenant in found
    ]


def _pipes(connection: sqlite3.Connection, cid: int) -> tuple[Pipe, ...]:
    return tuple(Pipe(pipe) for (pipe,) in connection.execute("SELECT pipe FROM namespace WHERE cid = ?", (cid,)))


def erase(connection: sqlite3.Connection, uid: CollectionUid, *, limit: int, now: float) -> bool:
    """A page of a deleted collection; True when nothing of it is left but its name, which goes in time."""
    record = connection.execute(
        "SELECT cid, deleted_at FROM collection WHERE uid = ? AND deleted_at IS NOT NULL", (uid,)
    ).fetchone()
    if record is None:
        return True
    cid, deleted_at = record
    page = connection.execute("SELECT did FROM document WHERE cid = ? LIMIT ?", (cid, limit)).fetchall()
    for (did,) in page:
        _drop_document(connection, did)
    if len(page) == limit:
        return False
    events = "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE cid = ? LIMIT ?)"
    if connection.execute(events, (cid, limit)).rowcount == limit:
        return False
    if now < deleted_at + healing.RETIRED_SECONDS:
        return True
    for table in ("namespace", "tally", "collection"):
        connection.execute(f"DELETE FROM {table} WHERE cid = ?", (cid,))
    return True


def trim(connection: sqlite3.Connection, *, limit: int, now: float) -> int:
    """From the oldest on: ids rise with time, so the scan ends at the first that is young enough."""
    dropped = 0
    for table, kept in (("event", EVENT_KEPT_SECONDS), ("step", STEP_KEPT_SECONDS)):
        oldest = connection.execute(f"SELECT at FROM {table} ORDER BY id LIMIT 1").fetchone()
        if oldest is None or oldest[0] >= now - kept:
            continue
        young = connection.execute(
            f"SELECT id FROM {table} WHERE at >= ? ORDER BY id LIMIT 1", (now - kept,)
        ).fetchone()
        bound = "" if young is None else f"WHERE id < {young[0]}"
        doomed = f"SELECT id FROM {table} {bound} ORDER BY id LIMIT ?"
        dropped += connection.execute(f"DELETE FROM {table} WHERE id IN ({doomed})", (limit,)).rowcount
    return dropped
