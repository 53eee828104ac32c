"""What nothing names any more, and its end on DynamoDB (R16).

`litter_at` says when to look at a document again; what may go is decided then, from the row and its revisions alone,
and once more when it goes. Blobs are given first and rows dropped after, so that a crash in between leaves no blob that
nobody knows. What is dropped in many calls is marked on the row first, so that nobody builds on it meanwhile.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, scanning, timing, transactions
from bloomweaver.adapters.ledger import dynamodb_accepting, dynamodb_building
from bloomweaver.domain import identity
from bloomweaver.domain.documents import DocumentKey, VersionState
from bloomweaver.domain.identity import BuildId, CollectionUid, Pipe
from bloomweaver.ports import healing

TOMBSTONE_KEPT_SECONDS = 30 * 86_400.0
OFFERED_AGAIN_SECONDS = 60.0
SWEEP_AWAITED_SECONDS = 3600.0
"""An accept that read the collection before it was deleted has ended by then, one way or the other."""

T = TypeVar("T")
Decide: TypeAlias = Callable[[documents.Held], T]


async def due(opened: engine.Engine, index: str, *, limit: int, now: float) -> list[keys.Key]:
    """Rows that an index says are due."""
    pages = await opened.together(
        [opened.index(index, str(shard), limit=limit, upto=now) for shard in range(keys.DUE_SHARDS)]
    )
    return [name for page in pages for name in page][:limit]


async def changed(opened: engine.Engine, name: keys.Key, decide: Decide[T]) -> T | None:
    """The document that an index named, changed. A row of a deleted collection leaves the indexes: `erase` comes."""
    key = documents.key_of(name)
    answer: tuple[T] | None = await transactions.change(opened, key, lambda held: (decide(held),), absent=None)
    if answer is None:
        await _unlist(opened, name)
    return None if answer is None else answer[0]


async def _unlist(opened: engine.Engine, name: keys.Key) -> None:
    indexed = [hashed for hashed, _ in keys.INDEXES.values()]
    try:
        await opened.update(name, "REMOVE " + ", ".join(indexed), condition="attribute_exists(pk)")
    except engine.Conflict:
        return  # it is not there at all


async def garbage(opened: engine.Engine, *, limit: int, now: float) -> list[healing.Garbage]:
    """Whole documents until `limit` is reached."""
    found: list[healing.Garbage] = []
    deployment = await _deployment(opened)
    for name in await due(opened, keys.LITTER, limit=limit, now=now):
        found += await _offered(opened, name, deployment, now=now)
        if len(found) >= limit:
            break
    return found


async def _offered(opened: engine.Engine, name: keys.Key, deployment: str, *, now: float) -> list[healing.Garbage]:
    key = documents.key_of(name)

    def decide(held: documents.Held, known: _Known) -> list[healing.Garbage] | None:
        if held.litter_at is None or held.litter_at > now:
            return []
        litter = _litter(held, known, deployment, now=now)
        documents.littered(held, at=now + OFFERED_AGAIN_SECONDS if litter else _next_look(held, now=now))
        return litter

    found = await transactions.change_beside(opened, key, lambda: _known(opened, key), decide, absent=None)
    if found is None:
        await _unlist(opened, name)
    return found or []


class _Known:
    """What the table holds beside a row: blobs of revisions by seq, and when the collection was swept last."""

    def __init__(self, blobs: dict[int, str | None], swept_began_at: float | None) -> None:
        self.blobs = blobs
        self.swept_began_at = swept_began_at

    def named_by(self, blob: str) -> set[int]:
        """Revisions that name the blob: after a PATCH the new one names the blob of the old one."""
        return {seq for seq, named in self.blobs.items() if named == blob}


async def _known(opened: engine.Engine, key: DocumentKey) -> _Known:
    """Read after the row, see `transactions.change_beside`."""
    collection = await opened.one(keys.collection(key.collection_uid))
    swept = None if collection is None else items.decimal(collection, "swept_began_at")
    found = await opened.all(keys.document(key), begins=keys.REVISION, only=("blob",))
    blobs = {items.revision_seq(item): str(item["blob"]["S"]) if "blob" in item else None for item in found}
    return _Known(blobs, swept)


def _litter(held: documents.Held, known: _Known, deployment: str, *, now: float) -> list[healing.Garbage]:
    key, found = held.row.key, []
    revisions = _revisions(held, known, now=now)
    for seq in sorted(revisions):
        blob = known.blobs[seq]
        blobs = (blob,) if blob is not None and known.named_by(blob) <= revisions else ()
        found.append(healing.Garbage(key, blobs, revision=seq))
    builds = _builds(held, now=now)
    for pipe, build in builds:
        blob = identity.build_blob_key(deployment, key.collection_uid, pipe=pipe, build=build)
        found.append(healing.Garbage(key, (blob,), build=(pipe, build)))
    if not revisions and not builds and _purgeable(held, known, now=now):
        found.append(healing.Garbage(key, purge=True))
    return found


def _revisions(held: documents.Held, known: _Known, *, now: float) -> set[int]:
    """Revisions that are never shown or built again; of a deleted document all but the tombstone.

    What no version stands for is only built where it is the desired or the live one, whatever is shown meanwhile.
    """
    row = held.row
    if row.tomb:
        if now < row.accepted_at + dynamodb_accepting.TEXT_KEPT_SECONDS:
            return set()
        return {seq for seq in known.blobs if seq < row.seq}
    standing = {v.seq for v in held.versions if v.state is not VersionState.GONE}
    return {seq for seq in known.blobs if seq < row.seq and seq != row.live and seq not in standing}


def _builds(held: documents.Held, *, now: float) -> list[tuple[Pipe, BuildId]]:
    standing = {(v.pipe, v.build) for v in held.versions if v.state is not VersionState.GONE}
    return [
        (b.pipe, b.build)
        for b in held.builds
        if (b.pipe, b.build) not in standing
        and (b.pending_since is None or now >= b.pending_since + dynamodb_building.ANNOUNCED_SECONDS)
    ]


def _purgeable(held: documents.Held, known: _Known, *, now: float) -> bool:
    """A tombstone ends when nothing that was sent before it can still arrive anywhere."""
    row = held.row
    if not row.tomb or held.builds or now < row.accepted_at + TOMBSTONE_KEPT_SECONDS:
        return False
    if any(v.state is not VersionState.GONE for v in held.versions):
        return False
    ended_at = row.accepted_at if held.gone_at is None else held.gone_at
    return known.swept_began_at is not None and known.swept_began_at > ended_at + timing.APART_SECONDS


def _next_look(held: documents.Held, *, now: float) -> float | None:
    """Where nothing is garbage yet but will be by time alone; all else looks again when it happens."""
    row = held.row
    announced = [
        b.pending_since + dynamodb_building.ANNOUNCED_SECONDS for b in held.builds if b.pending_since is not None
    ]
    if not row.tomb:
        return min(announced, default=None)
    text_ends = row.accepted_at + dynamodb_accepting.TEXT_KEPT_SECONDS
    ends = row.accepted_at + TOMBSTONE_KEPT_SECONDS
    return min((at for at in (*announced, text_ends, ends) if at > now), default=now + SWEEP_AWAITED_SECONDS)


async def forget(opened: engine.Engine, given: Iterable[healing.Garbage], *, now: float) -> None:
    """Drop what is still garbage."""
    deployment = await _deployment(opened)
    for item in given:
        if item.build is not None:
            await _forget_build(opened, item.key, item.build, now=now)
        elif item.purge:
            await _purge(opened, item, deployment, now=now)
        elif item.revision is not None:
            await _forget_revision(opened, item, item.revision, deployment, now=now)


async def _forget_revision(
    opened: engine.Engine, item: healing.Garbage, seq: int, deployment: str, *, now: float
) -> None:
    def decide(held: documents.Held, known: _Known) -> None:
        if not any(one.revision == seq for one in _litter(held, known, deployment, now=now)):
            return
        held.writes.append({"Delete": {"Key": items.named(keys.revision(held.key, seq))}})
        blob = known.blobs[seq]
        if blob is not None and known.named_by(blob) == {seq}:
            held.writes.append({"Delete": {"Key": items.named(keys.owner_of_blob(held.key.collection_uid, blob))}})
        held.revisions -= 1
        held.versions = [v for v in held.versions if v.seq != seq or v.state is not VersionState.GONE]
        documents.littered(held, at=now)

    await transactions.change_beside(opened, item.key, lambda: _known(opened, item.key), decide, absent=None)


async def _forget_build(opened: engine.Engine, key: DocumentKey, name: tuple[Pipe, BuildId], *, now: float) -> None:
    """Marked, so that no version may name it again; then its chunks go, and its name last."""

    def mark(held: documents.Held) -> bool:
        if name not in _builds(held, now=now):
            return False
        held.builds = [replace(b, dropping=True) if (b.pipe, b.build) == name else b for b in held.builds]
        held.dirty = True
        return True

    if not await transactions.change(opened, key, mark, absent=False):
        return
    pipe, build = name
    chunks = await opened.all(keys.document(key), begins=keys.chunks(pipe, build), only=("n",))
    await opened.delete_many([items.key_of(item) for item in chunks])

    def drop(held: documents.Held) -> None:
        held.builds = [b for b in held.builds if (b.pipe, b.build) != name or not b.dropping]
        held.writes.append({"Delete": {"Key": items.named(keys.owner_of_build(key.collection_uid, build))}})
        documents.littered(held, at=now)

    await transactions.change(opened, key, drop, absent=None)


async def _purge(opened: engine.Engine, item: healing.Garbage, deployment: str, *, now: float) -> None:
    """The tombstone, its timeline and its name; it has no text, chunks or builds any more."""
    key = item.key

    def drop(held: documents.Held, known: _Known) -> None:
        if any(one.purge for one in _litter(held, known, deployment, now=now)):
            owner = keys.owner_of_document(key.collection_uid, keys.doc16(key)), key.document_id
            steps = [keys.step(key, slot) for slot in range(min(held.steps, keys.STEPS_KEPT))]
            gone = [owner, keys.revision(key, held.row.seq), *steps]
            held.writes += [{"Delete": {"Key": items.named(name)}} for name in gone]
            held.dropped = held.dirty = True

    await transactions.change_beside(opened, key, lambda: _known(opened, key), drop, absent=None)


async def _drop_beside(opened: engine.Engine, key: DocumentKey) -> None:
    """Revisions, chunks and steps of a document whose row is gone, or about to be."""
    beside = await opened.all(keys.document(key), only=("blob",))
    blobs = [keys.owner_of_blob(key.collection_uid, item["blob"]["S"]) for item in beside if "blob" in item]
    await opened.delete_many([*(items.key_of(item) for item in beside), *blobs])


async def retired(opened: engine.Engine) -> list[healing.Retired]:
    """Collections whose name is free and whose rows are not."""
    uids = [CollectionUid(item["sk"]["S"]) for item in await opened.all(keys.RETIRED)]
    found = []
    for uid, part in zip(uids, await opened.together([opened.all(keys.collection_part(u)) for u in uids]), strict=True):
        named = {item["sk"]["S"]: item for item in part}
        collection = named.get(keys.collection(uid)[1])
        if collection is not None:
            pipes = sorted(name.removeprefix(keys.PIPE) for name in named if name.startswith(keys.PIPE))
            tenant = items.deleted_or_not(collection).collection.tenant
            found.append(healing.Retired(uid, tenant, tuple(Pipe(pipe) for pipe in pipes)))
    return found


async def erase(opened: engine.Engine, uid: CollectionUid, *, limit: int, now: float) -> bool:
    """A page of a deleted collection; True when nothing of it is left but its name, which goes in time."""
    collection = await opened.one(keys.collection(uid))
    if collection is None:
        return True
    if "deleted_at" not in collection:
        return True
    page = await scanning.some(opened, uid, limit=limit)
    await opened.together([_erase_document(opened, item) for item in page])
    if len(page) == limit:
        return False
    if not await _erase_partitions(opened, [keys.inbox(uid, shard) for shard in range(keys.SHARDS)], limit=limit):
        return False
    if now < float(collection["deleted_at"]["N"]) + healing.RETIRED_SECONDS:
        return True
    part = [items.key_of(item) for item in await opened.all(keys.collection_part(uid), only=("n",))]
    await _erase_partitions(opened, [keys.tallies(uid), keys.failed(uid)], limit=0)
    await opened.delete_many([name for name in part if name != keys.collection(uid)])
    await opened.delete_many([keys.collection(uid), (keys.RETIRED, uid), (keys.SCANS, uid)])
    return True


async def _erase_document(opened: engine.Engine, item: items.Item) -> None:
    """The row last: until then the document is found again."""
    key, uid = documents.row_key(item), documents.row_key(item).collection_uid
    await _drop_beside(opened, key)
    builds = documents.builds_of(item)
    owners = [keys.owner_of_build(uid, build.build) for build in builds]
    owner = (keys.owner_of_document(uid, keys.doc16(key)), key.document_id)
    await opened.delete_many([*owners, owner])
    await opened.delete_many([keys.row(key)])


async def _erase_partitions(opened: engine.Engine, partitions: Sequence[str], *, limit: int) -> bool:
    """Whole partitions, but no more than about `limit` items of each where that is not 0; whether they are empty."""
    done = True
    for pk in partitions:
        after: str | None = ""
        dropped = 0
        while after is not None:
            page, after = await opened.page(pk, after=after, only=("n",))
            await opened.delete_many([items.key_of(item) for item in page])
            dropped += len(page)
            if limit and dropped >= limit and after is not None:
                done = False
                break
    return done


async def _deployment(opened: engine.Engine) -> str:
    found = await opened.one(keys.DEPLOYMENT)
    return str(found["name"]["S"]) if found is not None and "name" in found else ""
