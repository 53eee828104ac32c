"""Scans over a whole collection after a change of its generation (R13, R15), a part with each call.

Invariant: a scan's place is on its collection, moved in the transaction that did the work before it, and one reconciler
at a time moves it; a document is skipped only where looking at it, under the collection's lock, showed nothing to do.
"""

from collections.abc import Iterable
from dataclasses import replace

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import documents, engine, loading, writing
from bloomweaver.domain import steps
from bloomweaver.domain.documents import Version, VersionState
from bloomweaver.domain.events import Lane, Step
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.ports import healing, queues

UNDER_WAY_SECONDS = 5.0
"""How long a hint may be under way before it counts as lost."""

BACKFILL_PAUSE_SECONDS = 60.0
"""The scan for laggards goes on when their queue is empty, or after so long."""

SCANNED_PER_FOUND = 20
"""A scan looks at so many documents for each that it may give, then leaves the rest for the next call."""

_SCANNED = "SELECT uid FROM collection WHERE {} IS NOT NULL AND deleted_at IS NULL ORDER BY cid"
# Another reconciler that is at it goes on with it.
_PLACE = "SELECT {} FROM collection WHERE cid = %s AND {} IS NOT NULL FOR UPDATE SKIP LOCKED"
_PAGE = "SELECT did, doc FROM document WHERE cid = %s AND doc > %s ORDER BY doc LIMIT %s"


async def backfills(engine: engine.Engine) -> list[CollectionUid]:
    """Collections that a scan for laggards is under way in."""
    return [CollectionUid(uid) for (uid,) in await engine.fetch(_SCANNED.format("backfill_cursor"))]


async def burials(engine: engine.Engine) -> list[CollectionUid]:
    """Collections that a scan for what is over is under way in."""
    return [CollectionUid(uid) for (uid,) in await engine.fetch(_SCANNED.format("bury_cursor"))]


async def backfill(
    tx: engine.Transaction, uid: CollectionUid, *, room: int, empty_lanes: frozenset[str]
) -> list[healing.Stuck]:
    """R15: go on through the collection, for documents that lack something in a current pipeline."""
    stored = next(iter((await loading.shared(tx, [uid])).values()), None)
    if stored is None:
        return []
    place = await tx.row(_PLACE.format("backfill_cursor, backfilled_at", "backfill_cursor"), (stored.cid,))
    if place is None:
        return []
    cursor, scanned_at = place
    lanes = {queues.queue_name(Lane.CHANGE, pipeline.space) for pipeline in stored.generation.pipelines}
    if scanned_at is not None and tx.now < scanned_at + BACKFILL_PAUSE_SECONDS and not lanes & empty_lanes:
        return []
    given: list[healing.Stuck] = []
    for _ in range(SCANNED_PER_FOUND):
        page = await tx.rows(_PAGE, (stored.cid, cursor, room))
        looked, laggards = await _laggards(tx, [did for did, _ in page], room=room - len(given))
        given += laggards
        cursor = page[looked - 1][1] if looked else cursor
        if looked == len(page) < room and len(given) < room:
            cursor = None
            break
        if len(given) >= room:
            break
    await tx.run("UPDATE collection SET backfill_cursor = %s, backfilled_at = %s WHERE cid = %s",
                 (cursor, tx.now, stored.cid))  # fmt: skip
    return given


async def _laggards(tx: engine.Transaction, dids: list[int], *, room: int) -> tuple[int, list[healing.Stuck]]:
    """How many of these were looked at, and what they need."""
    peeked = {held.did: held for held in (await loading.peek_numbers(tx, dids)).held.values()}
    worth = [did for did in dids if did in peeked and _lags(documents.Batch(tx.now), peeked[did])]
    batch = await loading.hold_numbers(tx, worth)
    by_did = {held.did: held for held in batch.held.values()}
    given: list[healing.Stuck] = []
    looked = 0
    for did in dids:
        looked += 1
        if did in by_did:
            given += _laggard(batch, by_did[did])
        if len(given) >= room:
            break
    await writing.send(tx, batch)
    return looked, given


def _lags(batch: documents.Batch, held: documents.Held) -> bool:
    """Whether there is anything to do. Changes what it is given: not for what is written."""
    flipped = held.row.live != held.row.seq and documents.flip_what_waits(batch, held)
    following = steps.next_steps(held.row, held.versions, held.generation)
    return held.row.live != held.row.seq or flipped or bool(following)


def _laggard(batch: documents.Batch, held: documents.Held) -> list[healing.Stuck]:
    was_live = held.row.live
    if not _lags(batch, held):
        return []
    row, flipped = held.row, held.row.live != was_live
    hinted_at = row.hinted_at or 0.0
    if row.tomb or batch.now < hinted_at + UNDER_WAY_SECONDS or (row.next_try is not None and row.next_try > batch.now):
        documents.save(held, was_live=was_live)  # its lane may be another one now
        return []
    if flipped:
        documents.save(held, was_live=was_live)
    wanted = needed(batch, held)
    return [found(held, wanted)] if wanted else []


def needed(batch: documents.Batch, held: documents.Held) -> tuple[Step, ...]:
    """Flip what nothing holds up any more; else mark the row as hinted and say where it has to go."""
    was_live = held.row.live
    if held.row.live != held.row.seq:
        documents.flip_what_waits(batch, held)
    following = steps.next_steps(held.row, held.versions, held.generation)
    if following or held.row.live != held.row.seq:
        held.row = replace(held.row, hinted_at=batch.now, hints=held.row.hints + 1)
    documents.save(held, was_live=was_live)
    return following


def found(held: documents.Held, wanted: tuple[Step, ...]) -> healing.Stuck:
    """As the port gives it."""
    return healing.Stuck(held.stored.collection.tenant, held.row.key, held.row.seq, wanted)


async def bury(tx: engine.Transaction, uid: CollectionUid, *, limit: int) -> int:
    """Go on through the collection: what can never be shown becomes dead."""
    stored = next(iter((await loading.shared(tx, [uid])).values()), None)
    place = None
    if stored is not None:
        place = await tx.row(_PLACE.format("bury_cursor", "bury_cursor"), (stored.cid,))
    if stored is None or place is None:
        return 0
    (cursor,), buried, page = place, 0, list[rows.Record]()
    for _ in range(SCANNED_PER_FOUND):
        page = await tx.rows(_PAGE, (stored.cid, cursor, limit))
        cursor = page[-1][1] if page else cursor
        buried += await _bury(tx, [did for did, _ in page])
        if len(page) < limit or buried >= limit:
            break
    cursor = None if len(page) < limit else cursor
    await tx.run("UPDATE collection SET bury_cursor = %s WHERE cid = %s", (cursor, stored.cid))
    return buried


async def _bury(tx: engine.Transaction, dids: Iterable[int]) -> int:
    peeked = (await loading.peek_numbers(tx, dids)).held.values()
    batch = await loading.hold_numbers(tx, [held.did for held in peeked if _over(held)])
    buried = 0
    for held in batch.held.values():
        doomed = _over(held)
        if doomed:
            documents.kill(held, doomed, now=batch.now)
            documents.save(held, was_live=held.row.live)
            buried += len(doomed)
    await writing.send(tx, batch)
    return buried


def _over(held: documents.Held) -> list[Version]:
    """Of a pipeline that is not current any more, or never to be shown."""
    return [
        version
        for version in held.versions
        if version.state not in documents.ENDED
        and (
            held.generation.pipeline(version.pipe) is None
            or (
                version.state is not VersionState.LIVE
                and steps.is_abandoned(held.row, version, src=held.source(version.seq))
            )
        )
    ]
