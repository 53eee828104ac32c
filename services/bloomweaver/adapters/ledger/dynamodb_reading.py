"""What services ask the ledger on DynamoDB. Every read is strongly consistent, but for the oldest that waits.

A document's row, versions and order keys are one item, so they are of one moment. What stands beside it and is read
after it either belongs to that moment or was collected since; then the row is read once more.
"""

import json
from collections.abc import AsyncIterator, Sequence
from collections.abc import Collection as Some
from itertools import islice

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, scanning
from bloomweaver.domain import steps
from bloomweaver.domain.documents import (
    ChunkRow,
    DocumentKey,
    Generation,
    Revision,
    Row,
    State,
    Version,
    VersionState,
)
from bloomweaver.domain.events import Step
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe, TenantId
from bloomweaver.ports import ledger

WITHOUT_TEXT = ("src", "body", "blob", "tokens")
LOOKS = 5


async def look(opened: engine.Engine, names: Sequence[DocumentKey], *, now: float) -> list[ledger.Look | None]:
    """All that a worker needs of each document."""
    found: dict[DocumentKey, ledger.Look] = {}
    missing = list(dict.fromkeys(names))
    for _ in range(LOOKS):
        helds = await _held(opened, missing)
        sent = await _revisions(opened, helds)
        found |= {key: _look(held, sent, now=now) for key, held in helds.items()}
        # A revision that is wanted or shown is never collected: where it is not there, the row has moved on.
        missing = [key for key, one in found.items() if key in missing and not _is_whole(one)]
        if not missing:
            break
    return [found.get(key) for key in names]


async def _held(opened: engine.Engine, names: Sequence[DocumentKey]) -> dict[DocumentKey, documents.Held]:
    uids = list(dict.fromkeys(key.collection_uid for key in names))
    read = await opened.get([*(keys.collection(uid) for uid in uids), *(keys.row(key) for key in names)])
    collections = dict(zip(uids, read, strict=False))
    found: dict[DocumentKey, documents.Held] = {}
    for key, item in zip(names, islice(read, len(uids), None), strict=True):
        collection = collections[key.collection_uid]
        stored = None if collection is None else items.collection_of(collection)
        if stored is not None and item is not None:
            found[key] = documents.load(stored, items.Gate(0, 0), item)
    return found


async def _revisions(
    opened: engine.Engine, helds: dict[DocumentKey, documents.Held]
) -> dict[tuple[DocumentKey, int], Revision]:
    wanted = [(key, seq) for key, held in helds.items() for seq in _named(held)]
    read = await opened.get([keys.revision(key, seq) for key, seq in wanted])
    return {
        (key, seq): items.revision_of(key, item)
        for (key, seq), item in zip(wanted, read, strict=True)
        if item is not None
    }


def _named(held: documents.Held) -> list[int]:
    standing = {v.seq for v in held.versions if v.state is not VersionState.GONE}
    return sorted((standing | {held.row.seq, held.row.live}) - {0})


def _look(held: documents.Held, sent: dict[tuple[DocumentKey, int], Revision], *, now: float) -> ledger.Look:
    revisions = tuple(sent[held.key, seq] for seq in _named(held) if (held.key, seq) in sent)
    return ledger.Look(now, held.stored.collection, held.generation, held.row, tuple(held.versions), revisions)


def _is_whole(one: ledger.Look) -> bool:
    return all(one.revision(seq) is not None for seq in {one.row.seq, one.row.live} - {0})


async def needed(opened: engine.Engine, names: Sequence[DocumentKey]) -> list[tuple[Step, ...]]:
    """What each document needs next."""
    found = await _held(opened, list(dict.fromkeys(names)))
    needs = {key: steps.next_steps(held.row, held.versions, held.generation) for key, held in found.items()}
    return [needs.get(key, ()) for key in names]


async def rows_of(opened: engine.Engine, names: Sequence[DocumentKey]) -> list[Row | None]:
    """The rows alone."""
    found = await _held(opened, list(dict.fromkeys(names)))
    return [found[key].row if key in found else None for key in names]


async def listed(opened: engine.Engine, listing: ledger.Listing) -> list[tuple[Row, Revision]]:
    """A page of documents with their desired revision."""
    collection = await opened.one(keys.collection(listing.collection_uid))
    if collection is None or items.collection_of(collection) is None:
        return []
    page: list[tuple[Row, Revision]] = []
    candidates: list[Row] = []
    async for row in _candidates(opened, listing):
        candidates.append(row)
        if len(candidates) + len(page) >= listing.limit:
            page += await _sent(opened, candidates, listing)
            candidates = []
            if len(page) >= listing.limit:
                return page
    return page + await _sent(opened, candidates, listing)


async def _candidates(opened: engine.Engine, listing: ledger.Listing) -> AsyncIterator[Row]:
    uid = listing.collection_uid
    state = None if listing.state is None else str(listing.state)
    read = scanning.ordered(
        opened, uid, after=listing.after, prefix=listing.prefix, state=state, expected=listing.limit
    )
    async for item in read:
        row = documents.row_of(item)
        is_wanted = row.state is listing.state if listing.state is not None else not row.tomb
        if is_wanted and (listing.since is None or row.accepted_at >= listing.since):
            yield row


async def _sent(
    opened: engine.Engine, candidates: Sequence[Row], listing: ledger.Listing
) -> list[tuple[Row, Revision]]:
    """With the desired revision; one that was replaced since the row was read is left out, for the next page."""
    read = await opened.get([keys.revision(row.key, row.seq) for row in candidates])
    pairs = [
        (row, items.revision_of(row.key, item)) for row, item in zip(candidates, read, strict=True) if item is not None
    ]
    return [pair for pair in pairs if listing.origin is None or pair[1].origin == listing.origin]


async def snapshot(opened: engine.Engine, uids: Some[CollectionUid]) -> ledger.Snapshot:
    """R11: each shard's flip counter, and what each collection is kept in."""
    wanted = list(dict.fromkeys(uids))
    parts = await opened.together([opened.all(keys.collection_part(uid)) for uid in wanted])
    generations: dict[CollectionUid, Generation] = {}
    positions: dict[CollectionUid, int] = {}
    flips: dict[str, list[int]] = {}
    for uid, part in zip(wanted, parts, strict=True):
        found = {item["sk"]["S"]: item for item in part}
        collection = found.get(keys.collection(uid)[1])
        stored = None if collection is None else items.collection_of(collection)
        if stored is None:
            continue
        generations[uid] = stored.generation
        flips[uid] = [items.gate_of(found[keys.gate(uid, shard)[1]]).flips for shard in range(keys.SHARDS)]
        place = found.get(keys.namespace(uid, stored.generation.active.pipe)[1])
        if place is not None and "position" in place:
            positions[uid] = items.integer(place, "position")
    return ledger.Snapshot(ledger.SnapshotToken(json.dumps(flips)), generations, positions)


async def visible(
    opened: engine.Engine, uid: CollectionUid, doc_ids: Sequence[str], then: ledger.Snapshot
) -> ledger.Visibility:
    """R10, R11: the candidates' rows, and whether what they show changed since the snapshot."""
    distinct = list(dict.fromkeys(doc_ids))
    names = [keys.row(DocumentKey(uid, DocumentId(name))) for name in distinct]
    collection, *read = await opened.get([keys.collection(uid), *names])
    stored = None if collection is None else items.collection_of(collection)
    flips = json.loads(then.token).get(uid)
    if stored is None or uid not in then.generations or flips is None:
        return ledger.Visibility({}, moved=True)
    moved = then.generations[uid].epoch != stored.generation.epoch
    found: dict[str, Row] = {}
    for name, item in zip(distinct, read, strict=True):
        if item is not None:
            found[name], flip = documents.row_and_flip(item)
            moved = moved or flip > flips[keys.shard_of(name)]
    return ledger.Visibility(found, moved)


async def shown(opened: engine.Engine, refs: Sequence[ledger.ChunkRef]) -> list[ledger.ShownChunk | None]:
    """The texts of hits, each with its revision but for the text of that."""
    helds = await _held(opened, list(dict.fromkeys(ref.key for ref in refs)))
    versions = {ref: _standing(helds.get(ref.key), ref.seq, ref.pipe) for ref in refs}
    named = [(ref, version) for ref, version in versions.items() if version is not None]
    chunks = await opened.get([keys.chunk(ref.key, ref.pipe, version.build, ref.index) for ref, version in named])
    sent = await opened.get([keys.revision(ref.key, ref.seq) for ref, _ in named], only=WITHOUT_TEXT)
    found: dict[ledger.ChunkRef, ledger.ShownChunk] = {}
    for (ref, _), chunk, revision in zip(named, chunks, sent, strict=True):
        if chunk is not None and revision is not None:
            found[ref] = ledger.ShownChunk(ref, items.chunk_of(chunk), items.revision_of(ref.key, revision))
    return [found.get(ref) for ref in refs]


def _standing(held: documents.Held | None, seq: int, pipe: Pipe) -> Version | None:
    versions = () if held is None else held.versions
    return next(
        (v for v in versions if (v.seq, v.pipe) == (seq, pipe) and v.state is not VersionState.GONE and v.build), None
    )


async def chunks(opened: engine.Engine, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
    """All chunks of a version."""
    helds = await _held(opened, [key])
    version = _standing(helds.get(key), seq, pipe)
    if version is None:
        return []
    found = await opened.all(keys.document(key), begins=keys.chunks(pipe, version.build))
    return [items.chunk_of(item) for item in found]


async def uids_of(opened: engine.Engine, tenant: TenantId, uid: CollectionUid | None) -> list[CollectionUid]:
    """The tenant's collections that are there, or that one of them."""
    named = await opened.all(keys.tenant(tenant), begins=keys.NAME)
    uids = [CollectionUid(item["uid"]["S"]) for item in named]
    return [one for one in uids if uid in (None, one)]


async def counts(opened: engine.Engine, tenant: TenantId, uid: CollectionUid | None) -> dict[State, int]:
    """Documents by state: the sum of what every transaction counted along."""
    uids = await uids_of(opened, tenant, uid)
    counted = dict.fromkeys(State, 0)
    for tallies in await opened.together([opened.all(keys.tallies(one)) for one in uids]):
        for tally in tallies:
            for state in State:
                counted[state] += items.integer(tally, state)
    return counted


async def oldest_pending(opened: engine.Engine, tenant: TenantId, uid: CollectionUid | None) -> float | None:
    """When the change that waits longest was accepted."""
    uids = await uids_of(opened, tenant, uid)
    found = await opened.together([_oldest(opened, one, shard) for one in uids for shard in range(keys.DUE_SHARDS)])
    return min((at for at in found if at is not None), default=None)


async def _oldest(opened: engine.Engine, uid: CollectionUid, shard: int) -> float | None:
    """By the index, which may still hold what was shown a moment ago: the row decides."""
    limit = 8
    while True:
        names = await opened.index(keys.PENDING, documents.pending_in(uid, shard), limit=limit)
        rows = [documents.row_of(item) for item in await opened.get(names) if item is not None]
        waiting = [row.accepted_at for row in rows if documents.is_pending(row)]
        if waiting or len(names) < limit:
            return min(waiting, default=None)
        limit *= 8


async def batch_counts(
    opened: engine.Engine, tenant: TenantId, batch_id: str, uid: CollectionUid | None, *, now: float
) -> dict[State, int]:
    """Documents of a batch; one that is forgotten, or never was there, counts as deleted."""
    uids = set(await uids_of(opened, tenant, uid))
    names: list[DocumentKey] = []
    for item in await opened.all(keys.batch(tenant, batch_id)):
        owner, _, document = item["sk"]["S"].partition("#")
        if owner in uids and items.integer(item, "expires") > now:
            names.append(DocumentKey(CollectionUid(owner), DocumentId(document)))
    counted = dict.fromkeys(State, 0)
    for row in await opened.get([keys.row(key) for key in names]):
        state = State.DELETED if row is None else State(row["state"]["S"])
        counted[state] += 1
    return counted
