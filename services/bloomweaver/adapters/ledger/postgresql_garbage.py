"""What nothing names any more, and its end (R16).

`litter_at` says when to look at a document again; what may go is decided then, from the rows alone, and once more when
it goes, both times under the row's lock. Blobs are given first and rows dropped after, so that a crash in between
leaves no blob that nobody knows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bloomweaver.adapters.engines.postgresql import arrays, documents, engine, loading
from bloomweaver.adapters.ledger import postgresql_accepting
from bloomweaver.domain import identity
from bloomweaver.domain.documents import VersionState
from bloomweaver.domain.identity import BuildId, CollectionUid, Pipe, TenantId
from bloomweaver.ports import healing

TOMBSTONE_KEPT_SECONDS = 30 * 86_400.0
EVENT_KEPT_SECONDS = 7 * 86_400.0
STEP_KEPT_SECONDS = 30 * 86_400.0
RATE_KEPT_SECONDS = 86_400.0
OFFERED_AGAIN_SECONDS = 60.0
SWEEP_AWAITED_SECONDS = 3600.0

_DUE = "SELECT did FROM document WHERE litter_at <= %s ORDER BY litter_at, did LIMIT %s"
_NO_LITTER = (
    "UPDATE document SET litter_at = NULL WHERE did = ANY(%s::bigint[])"
    " AND cid IN (SELECT cid FROM collection WHERE deleted_at IS NOT NULL)"
)
_LOOK_AGAIN = (
    "UPDATE document d SET litter_at = w.at FROM unnest(%s::bigint[], %s::float8[]) w(did, at) WHERE d.did = w.did"
)
_REVISIONS = "SELECT did, seq, blob FROM revision WHERE did = ANY(%s::bigint[]) ORDER BY did, seq"
_NAMING = "SELECT blob, seq FROM revision WHERE blob = ANY(%s::text[])"
_BUILDS = "SELECT did, pipe, build FROM build WHERE did = ANY(%s::bigint[]) ORDER BY did, bid"
_SWEPT = (
    "SELECT d.did FROM document d JOIN collection c USING (cid) WHERE d.did = ANY(%s::bigint[])"
    " AND c.swept_began_at > coalesce(d.gone_at, d.accepted_at)"
)
_DROP_GONE = (
    "DELETE FROM version v USING unnest(%s::bigint[], %s::bigint[]) w(did, seq)"
    " WHERE v.did = w.did AND v.seq = w.seq AND v.state = 'gone'"
)
_DROP_CHUNKS = (
    "DELETE FROM chunk k USING build b, unnest(%s::bigint[], %s::text[], %s::text[]) w(did, pipe, build)"
    " WHERE b.did = w.did AND b.pipe = w.pipe AND b.build = w.build AND k.bid = b.bid"
)
_DROP_BUILDS = (
    "DELETE FROM build b USING unnest(%s::bigint[], %s::text[], %s::text[]) w(did, pipe, build)"
    " WHERE b.did = w.did AND b.pipe = w.pipe AND b.build = w.build"
)
_DROP_ALL_CHUNKS = "DELETE FROM chunk k USING build b WHERE b.did = ANY(%s::bigint[]) AND k.bid = b.bid"
_DROP_ALL = "DELETE FROM {} WHERE did = ANY(%s::bigint[])"
_RETIRED = (
    "SELECT c.uid, c.tenant, array_remove(array_agg(n.pipe ORDER BY n.pipe), NULL) FROM collection c"
    " LEFT JOIN namespace n USING (cid) WHERE c.deleted_at IS NOT NULL GROUP BY c.cid, c.uid, c.tenant ORDER BY c.cid"
)
_ERASED = "SELECT cid, deleted_at FROM collection WHERE uid = %s AND deleted_at IS NOT NULL FOR UPDATE"
_ERASED_PAGE = "SELECT did FROM document WHERE cid = %s ORDER BY did LIMIT %s"
_DROP_EVENTS = (
    "DELETE FROM event WHERE ctid = ANY(ARRAY(SELECT ctid FROM event WHERE cid = %s LIMIT %s FOR UPDATE SKIP LOCKED))"
)
_TRIM = "DELETE FROM {0} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {0} WHERE at < %s LIMIT %s FOR UPDATE SKIP LOCKED))"


@dataclass(slots=True)
class _Evidence:
    """What is decided by, for all held documents at once. naming: which revisions name a blob."""

    deployment: str
    revisions: Mapping[int, Sequence[tuple[int, str | None]]]
    naming: Mapping[str, set[int]]
    builds: Mapping[int, Sequence[tuple[Pipe, BuildId]]]
    swept: frozenset[int]


async def garbage(tx: engine.Transaction, *, limit: int) -> list[healing.Garbage]:
    """Whole documents until `limit` is reached."""
    dids = [did for (did,) in await tx.rows(_DUE, (tx.now, limit))]
    if not dids:
        return []
    batch = await loading.hold_numbers(tx, dids, free=True)
    by_did = {held.did: held for held in batch.held.values()}
    evidence = await _gather(tx, by_did)
    found: list[healing.Garbage] = []
    again: dict[int, float | None] = {}
    for did in dids:
        held = by_did.get(did)
        if held is None or held.litter_at is None or held.litter_at > tx.now:
            continue  # another reconciler has it, or had it meanwhile
        litter = list(_litter(held, evidence, now=tx.now))
        again[did] = tx.now + OFFERED_AGAIN_SECONDS if litter else _next_look(held, now=tx.now)
        found += litter
        if len(found) >= limit:
            break
    await tx.run(_LOOK_AGAIN, (arrays.numbers(again), arrays.numbers(again.values())))
    if len(by_did) < len(dids):
        await tx.run(_NO_LITTER, (arrays.numbers(did for did in dids if did not in by_did),))
    return found


async def _gather(tx: engine.Transaction, dids: Iterable[int]) -> _Evidence:
    wanted = (arrays.numbers(dids),)
    revisions, builds = defaultdict(list), defaultdict(list)
    blobs = set()
    for did, seq, blob in await tx.rows(_REVISIONS, wanted):
        revisions[did].append((seq, blob))
        if blob is not None:
            blobs.add(blob)
    naming = defaultdict(set)
    for blob, seq in await tx.rows(_NAMING, (arrays.texts(blobs),)) if blobs else ():
        naming[blob].add(seq)
    for did, pipe, build in await tx.rows(_BUILDS, wanted):
        builds[did].append((Pipe(pipe), BuildId(build)))
    swept = frozenset(did for (did,) in await tx.rows(_SWEPT, wanted))
    deployment = await tx.row("SELECT name FROM deployment")
    assert deployment is not None
    return _Evidence(deployment[0], revisions, naming, builds, swept)


def _litter(held: documents.Held, evidence: _Evidence, *, now: float) -> Iterator[healing.Garbage]:
    key = held.row.key
    revisions = _revisions(held, evidence.revisions.get(held.did, ()), now=now)
    for seq, blob in revisions.items():
        blobs = (blob,) if blob is not None and evidence.naming[blob] <= set(revisions) else ()
        yield healing.Garbage(key, blobs, revision=seq)
    standing = {(v.pipe, v.build) for v in held.versions if v.state is not VersionState.GONE}
    builds = [build for build in evidence.builds.get(held.did, ()) if build not in standing]
    for pipe, build in builds:
        blob = identity.build_blob_key(evidence.deployment, key.collection_uid, pipe=pipe, build=build)
        yield healing.Garbage(key, (blob,), build=(pipe, build))
    if not revisions and not builds and _purgeable(held, evidence, now=now):
        yield healing.Garbage(key, purge=True)


def _revisions(held: documents.Held, sent: Sequence[tuple[int, str | None]], *, now: float) -> dict[int, str | None]:
    """Revisions (and their blobs) that are never shown or built again; of a deleted document all but the tombstone.

    What no version stands for is only built where it is the desired or the live one, whatever is shown meanwhile.
    """
    row = held.row
    if row.tomb:
        if now < row.accepted_at + postgresql_accepting.TEXT_KEPT_SECONDS:
            return {}
        return {seq: blob for seq, blob in sent if seq != row.seq}
    standing = {v.seq for v in held.versions if v.state is not VersionState.GONE}
    return {seq: blob for seq, blob in sent if seq < row.seq and seq != row.live and seq not in standing}


def _purgeable(held: documents.Held, evidence: _Evidence, *, now: float) -> bool:
    """A tombstone ends when nothing that was sent before it can still arrive anywhere."""
    row = held.row
    if not row.tomb or now < row.accepted_at + TOMBSTONE_KEPT_SECONDS:
        return False
    return all(v.state is VersionState.GONE for v in held.versions) and held.did in evidence.swept


def _next_look(held: documents.Held, *, now: float) -> float | None:
    """Where nothing is garbage yet but will be by time alone; all else looks again when it happens."""
    row = held.row
    if not row.tomb:
        return None
    text_ends = row.accepted_at + postgresql_accepting.TEXT_KEPT_SECONDS
    ends = row.accepted_at + TOMBSTONE_KEPT_SECONDS
    return next((at for at in (text_ends, ends) if at > now), now + SWEEP_AWAITED_SECONDS)


async def forget(tx: engine.Transaction, items: Sequence[healing.Garbage]) -> None:
    """Drop what is still garbage."""
    batch = await loading.hold(tx, [item.key for item in items])
    evidence = await _gather(tx, [held.did for held in batch.held.values()])
    purged, revisions, builds = [], [], []
    for key, held in batch.held.items():
        known = {(g.revision, g.build, g.purge) for g in _litter(held, evidence, now=tx.now)}
        for item in items:
            if item.key != key or (item.revision, item.build, item.purge) not in known:
                continue
            if item.purge:
                purged.append(held.did)
            elif item.revision is not None:
                revisions.append((held.did, item.revision))
            elif item.build is not None:
                builds.append((held.did, *item.build))
    await _drop_revisions(tx, revisions)
    await _drop_builds(tx, builds)
    again = {did for did, _ in revisions} | {did for did, _, _ in builds}
    await tx.run(_LOOK_AGAIN, (arrays.numbers(again), arrays.numbers(tx.now for _ in again)))
    await _drop_documents(tx, purged)


async def _drop_revisions(tx: engine.Transaction, revisions: Sequence[tuple[int, int]]) -> None:
    if revisions:
        dids, seqs = (arrays.numbers(column) for column in zip(*revisions, strict=True))
        await tx.run("DELETE FROM revision WHERE seq = ANY(%s::bigint[])", (seqs,))
        await tx.run(_DROP_GONE, (dids, seqs))


async def _drop_builds(tx: engine.Transaction, builds: Sequence[tuple[int, Pipe, BuildId]]) -> None:
    if builds:
        dids, pipes, names = zip(*builds, strict=True)
        values = (arrays.numbers(dids), arrays.texts(pipes), arrays.texts(names))
        await tx.run(_DROP_CHUNKS, values)
        await tx.run(_DROP_BUILDS, values)


async def _drop_documents(tx: engine.Transaction, dids: Sequence[int]) -> None:
    if dids:
        values = (arrays.numbers(dids),)
        await tx.run(_DROP_ALL_CHUNKS, values)
        for table in ("build", "version", "revision", "step", "document"):
            await tx.run(_DROP_ALL.format(table), values)


async def retired(engine: engine.Engine) -> list[healing.Retired]:
    """Collections whose name is free and whose rows are not."""
    return [
        healing.Retired(CollectionUid(uid), TenantId(tenant), tuple(map(Pipe, pipes)))
        for uid, tenant, pipes in await engine.fetch(_RETIRED)
    ]


async def erase(tx: engine.Transaction, uid: CollectionUid, *, limit: int) -> bool:
    """A page of a deleted collection; True when nothing is left but its name, which goes in time. Two take turns."""
    record = await tx.row(_ERASED, (uid,))
    if record is None:
        return True
    cid, deleted_at = record
    page = [did for (did,) in await tx.rows(_ERASED_PAGE, (cid, limit))]
    await _drop_documents(tx, page)
    if len(page) == limit or await tx.run(_DROP_EVENTS, (cid, limit)) == limit:
        return False
    if tx.now < deleted_at + healing.RETIRED_SECONDS:
        return True
    for table in ("namespace", "tally", "collection"):
        await tx.run(f"DELETE FROM {table} WHERE cid = %s", (cid,))
    return True


async def trim(tx: engine.Transaction, *, limit: int) -> int:
    """What is over its time; both tables know their oldest blocks by a small index."""
    events = await tx.run(_TRIM.format("event"), (tx.now - EVENT_KEPT_SECONDS, limit))
    await tx.run("DELETE FROM rate WHERE due < %s AND at < %s", (tx.now, tx.now - RATE_KEPT_SECONDS))
    return events + await tx.run(_TRIM.format("step"), (tx.now - STEP_KEPT_SECONDS, limit))
