"""The end of a history: the faults stop, everything has to converge, then be clean. Here the stores are looked at too.

I7 convergence, I8 no garbage, I9 nothing acknowledged is lost, I17 nothing deleted is left anywhere.
"""

import asyncio

from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import Collection, DocumentKey, Row, VersionState
from bloomweaver.domain.errors import BloomWeaverError
from bloomweaver.domain.events import Outcome
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports.ledger import Look
from tests.simulation import clients, databases, histories, oracle, people, world

CONVERGENCE_SECONDS = 3 * 3600.0
STEP_SECONDS = 60.0
MONTH_SECONDS = 31 * 86_400.0
COMPLETE = (VersionState.READY, VersionState.LIVE)
# What failed in a pipeline that is being built keeps what was written of it until it is retried or replaced.
KNOWN = (*COMPLETE, VersionState.INTENT, VersionState.FAILED)


async def resolve(world_: world.World) -> None:
    """What became of the operations that never got an answer: the stored event tells, as `GET /v1/events/{id}` does."""
    for op in list(world_.history.operations):
        for uid in world_.lives[op.place.tenant, op.place.collection]:
            stored = await world_.database.ledger.event(uid, source="", event_id=op.event_id)
            if stored is None or op.uid == uid:
                continue
            if op.outcome is None:
                op.outcome, op.seq, op.uid, op.refused = str(stored.outcome), stored.seq, uid, None
            else:
                world_.history.twin(op, uid=uid, outcome=str(stored.outcome), seq=stored.seq)


async def check_events(world_: world.World) -> None:
    """I9: every acknowledged event of a collection that is still there is in the ledger, as it was answered."""
    for op in world_.history.operations:
        if op.ended is None or op.outcome is None or op.uid in world_.removed:
            continue
        stored = await world_.database.ledger.event(CollectionUid(op.uid), source="", event_id=op.event_id)
        if stored is None or (str(stored.outcome), stored.seq) != (op.outcome, op.seq):
            world_.history.violated("I9", world_.loop.time(), f"{op} was {op.outcome} seq {op.seq}, stored: {stored}")


async def settle(world_: world.World) -> None:
    """The faults stop; everything has to come to rest within the bound."""
    world_.chaos.calm = True
    world_.chaos.outages.clear()
    now = world_.loop.time()
    world_.history.outages[:] = [(begins, min(ends, now)) for begins, ends in world_.history.outages]
    await _give_up_unbuildable(world_)
    world_.off.clear()
    for name in world_.roles:
        world_.resume(name)
    for _ in range(int(CONVERGENCE_SECONDS / STEP_SECONDS)):
        if not await unsettled(world_):
            break
        await asyncio.sleep(STEP_SECONDS)
    for look in await unsettled(world_):
        what = f"{look.row.key.document_id} waits at the end: {look.row}, {look.versions}, {look.generation}"
        world_.history.violated("I7", world_.loop.time(), what)


async def _give_up_unbuildable(world_: world.World) -> None:
    """The roll-out of the newer release ends; what nothing here can run is given up by an operator."""
    registry = world_.database.registry
    world_.rolled_out = runnable = frozenset[str]().union(*world_.plan.releases)
    for collection in await registry.collections():
        generation = await registry.generation(collection.uid)
        if generation is not None and generation.building and generation.building.revision not in runnable:
            await registry.build(collection.uid, epoch=generation.epoch, pipeline=None)


async def unsettled(world_: world.World) -> list[Look]:
    """Documents that are not yet where they have to be."""
    found = []
    for look in await looks(world_):
        row = look.row
        shown = steps.find(look.versions, row.seq, look.generation.active.pipe)
        done = row.tomb or row.failed or (row.live == row.seq and shown is not None and shown.state in steps.BUILT)
        if not done:
            found.append(look)
    return found


async def looks(world_: world.World) -> list[Look]:
    """Every document of every collection that is still there."""
    keys = []
    for collection in await world_.database.registry.collections():
        names = {op.place.document for op in world_.history.operations if op.uid == collection.uid}
        keys += [DocumentKey(collection.uid, DocumentId(name)) for name in sorted(names)]
    return [look for look in await world_.database.ledger.look(keys) if look is not None]


async def check_convergence(world_: world.World) -> None:
    """I7: the last searches show exactly what was last accepted."""
    names: dict[str, Collection] = {c.uid: c for c in await world_.database.registry.collections()}
    finals: dict[str, histories.Search] = {}
    for collection in names.values():
        finals[collection.uid] = await people.search(world_, collection.tenant, collection.name, final=True)
    rows = {(look.row.key.collection_uid, look.row.key.document_id): look.row for look in await looks(world_)}
    judge = oracle.Oracle(world_.history)
    judge.judge()
    for uid, document, expected in judge.expected():
        row = rows.get((CollectionUid(uid), DocumentId(document)))
        if uid not in finals or (row is not None and row.failed):
            _check_failed(world_, document, expected, row)
            continue
        hits = [hit for hit in finals[uid].hits or () if hit.document == document]
        words = {word for hit in hits for word in hit.text.split()}
        wanted = set(expected.words) if expected is not None else set()
        if words != wanted:
            what = f"{document} of {uid} shows {sorted(words)}, last accepted was {expected}: {sorted(wanted)}"
            world_.history.violated("I7", world_.loop.time(), what)


def _check_failed(world_: world.World, document: str, expected: histories.Operation | None, row: Row | None) -> None:
    """I16: a document may only have failed if its text was bad, its blob was lost, or away in all of its attempts."""
    if row is not None and row.reason is Reason.BLOB_MISSING and world_.chaos.counts["blob_absent"]:
        return
    if expected is not None and expected.fate is None and not world_.plan.lost_blobs and not world_.lossy:
        world_.history.violated("I16", world_.loop.time(), f"{document} failed, but {expected} is a good text")


async def clean_up(world_: world.World) -> None:
    """Days pass: second removals, erasure of text, a sweep. Only what cleans is running."""
    world_.kill_all()
    await world_.pass_time(90_000.0)
    world_.off -= {"writer-delete-1", "reconciler-1"}
    world_.start("writer-delete-1")
    world_.start("reconciler-1", idle=True)
    service = world_.running["reconciler-1"].service
    for _ in range(3):
        await service.round()
        await asyncio.sleep(STEP_SECONDS + 1.0)
    await _sweep(world_)
    await service.round()


async def purge(world_: world.World) -> None:
    """A month passes: nothing of what was deleted is left, and all else is still shown."""
    world_.kill_all()
    await world_.pass_time(MONTH_SECONDS)
    world_.off -= {"reconciler-1", "search-1"}
    world_.start("reconciler-1", idle=True)
    world_.start("search-1")
    await _sweep(world_)
    for _ in range(2):
        await world_.running["reconciler-1"].service.round()
        await asyncio.sleep(STEP_SECONDS + 1.0)
    left = [look.row.key.document_id for look in await looks(world_) if look.row.tomb]
    if left:
        world_.history.violated("I8", world_.loop.time(), f"tombstones are left after a month: {left}")
    await check_convergence(world_)


async def _sweep(world_: world.World) -> None:
    try:
        await world_.running["reconciler-1"].service.sweeper.sweep(force=False)
    except BloomWeaverError as error:
        world_.history.violated("I8", world_.loop.time(), f"the sweep was refused: {error}")


async def check_stores(world_: world.World) -> None:
    """I8: the store holds the vectors of what is shown and nothing else; queues are empty."""
    wanted: set[tuple[str, str]] = set()
    allowed: set[tuple[str, str]] = set()
    for look in await looks(world_):
        key = look.row.key
        for version in look.versions:
            if version.state in KNOWN and look.generation.pipeline(version.pipe) is not None:
                namespace = identity.namespace_of(world_.deployment, key.collection_uid, version.pipe)
                ids = identity.vector_ids(key.document_id, version.seq, version.pipe, version.n_chunks)
                allowed.update((namespace, name) for name in ids)
                if version.state in COMPLETE:  # an intent may be superseded before its first vector was written
                    wanted.update((namespace, name) for name in ids)
    held: set[tuple[str, str]] = set()
    for namespace in await world_.vectors.primary.namespaces(""):
        async for page in world_.vectors.primary.ids(namespace):
            held.update((namespace, name) for name in page)
    now = world_.loop.time()
    if held - allowed:
        world_.history.violated("I8", now, f"garbage in the store: {sorted(held - allowed)[:4]}")
    if wanted - held:
        world_.history.violated("I3", now, f"vectors are missing in the store: {sorted(wanted - held)[:4]}")
    for queue, depth in (await world_.queues.depths()).items():
        if depth.dead:
            world_.history.violated("I8", now, f"{queue} still holds dead letters: {depth}")


async def check_erasure(world_: world.World) -> None:
    """I17: no word that only deleted or replaced texts held is anywhere: not in rows, not in blobs."""
    shown: set[str] = set()
    for look in await looks(world_):
        row = look.row
        kept = {v.seq for v in look.versions if v.state is not VersionState.GONE} | {row.live, row.seq}
        for seq in kept if not row.tomb else ():
            shown |= _text_under(world_, row.key, seq)
    gone = {word for op in world_.history.operations for word in op.words if op.outcome} - shown
    marks = {word for word in gone if word.startswith(clients.TEXT_MARK)}
    left = databases.words_left(world_.database, marks)
    for key, (data, _) in world_.blobs._held.items():
        left |= {f"{word} in blob {key}" for word in marks if word.encode() in data}
    if left:
        world_.history.violated("I17", world_.loop.time(), f"text of deleted documents is left: {sorted(left)[:4]}")


def _text_under(world_: world.World, key: DocumentKey, seq: int) -> frozenset[str]:
    """The words of a revision: its own, or for a patch those that it found."""
    puts = [
        op
        for op in world_.history.operations
        if (op.uid, op.place.document) == (key.collection_uid, key.document_id)
        and op.kind is histories.Kind.PUT
        and op.takes_seq
        and op.seq <= seq
    ]
    return max(puts, key=lambda op: op.seq).words if puts else frozenset()


async def check_blobs(world_: world.World) -> None:
    """I8: every blob that is left is named by a revision or a version."""
    for collection in await world_.database.registry.collections():
        prefix = identity.blob_prefix(world_.deployment, collection.uid)
        keys = [key for key in world_.blobs._held if key.startswith(prefix)]
        owned = await world_.database.healing.owned_blobs(collection.uid, keys)
        if set(keys) - owned:
            what = f"blobs that nobody owns: {sorted(set(keys) - owned)[:3]}"
            world_.history.violated("I8", world_.loop.time(), what)
    alive = {c.uid for c in await world_.database.registry.collections()}
    strays = [key for key in world_.blobs._held if key.split("/")[1] not in alive]
    if strays:
        world_.history.violated("I8", world_.loop.time(), f"blobs of deleted collections: {strays[:3]}")


__all__ = ["Outcome", "TenantId", "check_blobs", "check_convergence", "check_erasure", "check_events", "check_stores"]
