"""Healing on DynamoDB: what waits, and what has to go (R9, R12, R13).

Everything due is found through sparse indexes that hold only rows with something due. An index lags a little, so it
only names candidates: each is read anew, decided under its own transaction, and left alone where it is not due any
more. What a change of generation asks of every document is found by a scan that remembers where it is.
"""

from collections.abc import Sequence
from dataclasses import replace

from bloomweaver.adapters.engines import waiting
from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, scanning
from bloomweaver.adapters.ledger import dynamodb_garbage, dynamodb_owning
from bloomweaver.domain import steps
from bloomweaver.domain.documents import Backlog, Version, VersionState, backlog_of
from bloomweaver.domain.events import Lane, Step
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.ports import healing, queues

EMPTY_LANE_SECONDS = 5.0
"""How long a hint may be under way before an empty queue means that it was lost."""

BACKFILL_PAUSE_SECONDS = 60.0
"""The scan for laggards goes on when their queue is empty, or after so long."""

SCANNED_PER_FOUND = 20
"""A scan looks at so many documents for each that it may give, then leaves the rest for the next call."""

COUNTED = 1000
"""A lane's backlog is counted so far in each of its partitions: a page that costs little every second."""

_ALWAYS = (waiting.STALLED, Lane.CREATE, Lane.UPDATE, Lane.DELETE)


class DynamodbHealing:
    """See `ports.healing`."""

    def __init__(self, opened: engine.Engine) -> None:
        self._engine = opened
        self._now = opened.now

    async def now(self) -> float:
        """See the port: this machine's clock, held to the times that the service's answers tell."""
        return self._now()

    async def stuck(self, *, limit: int, empty_lanes: frozenset[str] = frozenset()) -> list[healing.Stuck]:
        """See the port."""
        now = self._now()
        found: list[healing.Stuck] = []
        for lane in await self._lanes():
            due = await self._due(lane, limit=limit - len(found), now=now)
            found += await self._hinted(due, lanes=None, now=now)
            if lane in empty_lanes and len(found) < limit:
                lost = await self._lost(lane, limit=limit - len(found), now=now)
                found += await self._hinted(lost, lanes=empty_lanes, now=now)
            if len(found) >= limit:
                return found
        for scan in await self._engine.all(keys.SCANS):
            if len(found) < limit and "backfill" in scan:
                found += await self._backfill(scan, room=limit - len(found), empty_lanes=empty_lanes, now=now)
        return found

    async def _lanes(self) -> list[str]:
        spaces = [item["sk"]["S"] for item in await self._engine.all(keys.SPACES)]
        return [*_ALWAYS, *(queues.queue_name(Lane.CHANGE, space) for space in spaces)]

    async def _due(self, lane: str, *, limit: int, now: float) -> list[keys.Key]:
        pages = await self._engine.together(
            [
                self._engine.index(keys.DUE, documents.due_in(lane, shard), limit=limit, upto=now)
                for shard in range(documents.due_shards(lane))
            ]
        )
        return [name for page in pages for name in page][:limit]

    async def _lost(self, lane: str, *, limit: int, now: float) -> list[keys.Key]:
        """Hinted a while ago and not due yet: where the queue is empty, the hint is gone."""
        values = {":hinted": items.number(now - EMPTY_LANE_SECONDS), ":now": items.number(now)}
        lost = ("hinted_at <= :hinted AND (attribute_not_exists(next_try) OR next_try <= :now)", values)
        pages = await self._engine.together(
            [
                self._engine.index(keys.DUE, documents.due_in(lane, shard), limit=limit, above=now, filtered=lost)
                for shard in range(documents.due_shards(lane))
            ]
        )
        return [name for page in pages for name in page][:limit]

    async def _hinted(
        self, candidates: Sequence[keys.Key], *, lanes: frozenset[str] | None, now: float
    ) -> list[healing.Stuck]:
        """What the candidates need, marked. lanes: give only what is lost, i.e. what waits for one of these."""
        given = await self._engine.together([self._hint(name, lanes=lanes, now=now) for name in candidates])
        return [one for one in given if one is not None]

    async def _hint(self, name: keys.Key, *, lanes: frozenset[str] | None, now: float) -> healing.Stuck | None:
        def decide(held: documents.Held) -> healing.Stuck | None:
            if not _is_due(held, lost=lanes is not None, now=now):
                return None
            needed = _needed(held, now=now)
            wanted = tuple(s for s in needed if lanes is None or queues.queue_of(s) in lanes)
            return _found(held, wanted) if wanted else None

        return await dynamodb_garbage.changed(self._engine, name, decide)

    async def _backfill(
        self, scan: items.Item, *, room: int, empty_lanes: frozenset[str], now: float
    ) -> list[healing.Stuck]:
        """R15: go on through the collection, for documents that lack something in a current pipeline."""
        uid = CollectionUid(scan["sk"]["S"])
        stored = await _living(self._engine, uid)
        if stored is None:
            return []
        scanned_at = items.decimal(scan, "backfilled_at")
        lanes = {queues.queue_name(Lane.CHANGE, pipeline.space) for pipeline in stored.generation.pipelines}
        if scanned_at is not None and now < scanned_at + BACKFILL_PAUSE_SECONDS and not lanes & empty_lanes:
            return []
        found: list[healing.Stuck] = []
        cursor: str | None = scan["backfill"]["S"]
        looked = 0
        async for item in scanning.ordered(self._engine, uid, after=cursor or "", expected=room * SCANNED_PER_FOUND):
            cursor, looked = item["sk"]["S"], looked + 1
            if _may_lag(stored, item):
                given = await dynamodb_garbage.changed(
                    self._engine, items.key_of(item), lambda held: _laggard(held, now=now)
                )
                found += [] if given is None else [given]
            if len(found) >= room or looked >= room * SCANNED_PER_FOUND:
                break
        else:
            cursor = None
        await dynamodb_owning.go_on(self._engine, scan, "backfill", cursor, at=now)
        return found

    async def backlog(self) -> list[Backlog]:
        """See the port. The indexes do not hold the size of a text, and lag a little."""
        counted = [Backlog(lane, await self._number(lane)) for lane in await self._lanes()]
        due = await dynamodb_garbage.due(self._engine, keys.REMOVALS, limit=COUNTED, now=self._now())
        return backlog_of([*counted, Backlog(Lane.DELETE.value, len(due))])

    async def _number(self, lane: str) -> int:
        partitions = [documents.due_in(lane, shard) for shard in range(documents.due_shards(lane))]
        pages = await self._engine.together([self._engine.index(keys.DUE, name, limit=COUNTED) for name in partitions])
        return sum(len(page) for page in pages)

    async def removals(self, *, limit: int) -> list[healing.Stuck]:
        """See the port."""
        now = self._now()
        names = await dynamodb_garbage.due(self._engine, keys.REMOVALS, limit=limit, now=now)

        def decide(held: documents.Held) -> healing.Stuck | None:
            ready = {name for name, at in held.remove_at.items() if at <= now}
            if not ready:
                return None
            due = [v for v in held.versions if steps.removal_due(v, held.row, now=now)]
            held.remove_at |= dict.fromkeys(ready, now + documents.GIVEN_AGAIN_SECONDS)
            held.dirty = True
            pipes = dict.fromkeys(v.pipe for v in due)
            return _found(held, tuple(Step(Lane.DELETE, held.row.seq, pipe) for pipe in pipes)) if due else None

        given = await self._engine.together([dynamodb_garbage.changed(self._engine, name, decide) for name in names])
        return [one for one in given if one is not None]

    async def bury(self, *, limit: int) -> int:
        """See the port."""
        now, buried = self._now(), 0
        for scan in await self._engine.all(keys.SCANS):
            if "bury" in scan and buried < limit:
                buried += await self._bury(scan, limit=limit, now=now)
        return buried

    async def _bury(self, scan: items.Item, *, limit: int, now: float) -> int:
        uid = CollectionUid(scan["sk"]["S"])
        stored = await _living(self._engine, uid)
        if stored is None:
            return 0
        cursor: str | None = scan["bury"]["S"]
        buried = looked = 0
        async for item in scanning.ordered(self._engine, uid, after=cursor or "", expected=limit * SCANNED_PER_FOUND):
            cursor, looked = item["sk"]["S"], looked + 1
            if _over(documents.load(stored, items.Gate(0, 0), item)):
                buried += (
                    await dynamodb_garbage.changed(
                        self._engine, items.key_of(item), lambda held: _buried(held, now=now)
                    )
                    or 0
                )
            if buried >= limit or looked >= limit * SCANNED_PER_FOUND:
                break
        else:
            cursor = None
        await dynamodb_owning.go_on(self._engine, scan, "bury", cursor)
        return buried

    async def garbage(self, *, limit: int) -> list[healing.Garbage]:
        """See the port."""
        return await dynamodb_garbage.garbage(self._engine, limit=limit, now=self._now())

    async def forget(self, garbage: Sequence[healing.Garbage]) -> None:
        """See the port."""
        await dynamodb_garbage.forget(self._engine, garbage, now=self._now())

    async def owners(self, uid: CollectionUid, names: Sequence[tuple[str, int, str]]) -> list[healing.Owned]:
        """See the port."""
        return await dynamodb_owning.owners(self._engine, uid, names, now=self._now())

    async def owned_blobs(self, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
        """See the port."""
        return await dynamodb_owning.owned_blobs(self._engine, uid, blobs)

    async def swept(self, uid: CollectionUid, *, began_at: float) -> None:
        """See the port."""
        await dynamodb_owning.swept(self._engine, uid, began_at=began_at)

    async def versions(self, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
        """See the port."""
        return await dynamodb_owning.versions(self._engine, uid, after=after, limit=limit)

    async def retired(self) -> list[healing.Retired]:
        """See the port."""
        return await dynamodb_garbage.retired(self._engine)

    async def erase(self, uid: CollectionUid, *, limit: int) -> bool:
        """See the port."""
        return await dynamodb_garbage.erase(self._engine, uid, limit=limit, now=self._now())

    async def trim(self, *, limit: int) -> int:
        """See the port. Events and steps carry the time at which the table drops them by itself; until it has, no read
        gives them."""
        return 0


async def _living(opened: engine.Engine, uid: CollectionUid) -> items.StoredCollection | None:
    item = await opened.one(keys.collection(uid))
    return None if item is None else items.collection_of(item)


def _is_due(held: documents.Held, *, lost: bool, now: float) -> bool:
    """By the row itself: another healer may have hinted it since the index was written."""
    if held.lane is None or held.due_at is None:
        return False
    if not lost:
        return held.due_at <= now
    row = held.row
    hinted_at = row.accepted_at if row.hinted_at is None else row.hinted_at
    return hinted_at <= now - EMPTY_LANE_SECONDS and (row.next_try is None or row.next_try <= now)


def _needed(held: documents.Held, *, now: float) -> tuple[Step, ...]:
    """Flip what nothing holds up any more; else mark the row as hinted and say where it has to go."""
    if held.row.live != held.row.seq:
        documents.flip_what_waits(held, now=now)
    needed = steps.next_steps(held.row, held.versions, held.generation)
    if needed or held.row.live != held.row.seq:
        held.row = replace(held.row, hinted_at=now, hints=held.row.hints + 1)
    documents.save(held)
    return needed


def _found(held: documents.Held, wanted: tuple[Step, ...]) -> healing.Stuck:
    return healing.Stuck(held.stored.collection.tenant, held.row.key, held.row.seq, wanted)


def _may_lag(stored: items.StoredCollection, item: items.Item) -> bool:
    """Whether a row as scanned has something to do: most have not, and cost no transaction."""
    held = documents.load(stored, items.Gate(0, 0), item)
    return held.row.live != held.row.seq or bool(steps.next_steps(held.row, held.versions, held.generation))


def _laggard(held: documents.Held, *, now: float) -> healing.Stuck | None:
    flipped = held.row.live != held.row.seq and documents.flip_what_waits(held, now=now)
    row = held.row
    if row.live == row.seq and not flipped and not steps.next_steps(row, held.versions, held.generation):
        return None
    hinted_at = row.hinted_at or 0.0
    documents.save(held)  # its lane may be another one now
    if row.tomb or now < hinted_at + EMPTY_LANE_SECONDS or (row.next_try is not None and row.next_try > now):
        return None
    needed = _needed(held, now=now)
    return _found(held, needed) if needed else None


def _over(held: documents.Held) -> list[Version]:
    """Of a pipeline that is not current any more, or never to be shown."""
    return [v for v in held.versions if v.state not in documents.ENDED and _is_over(held, v)]


def _is_over(held: documents.Held, version: Version) -> bool:
    if held.generation.pipeline(version.pipe) is None:
        return True
    if version.state is VersionState.LIVE:
        return False
    return steps.is_abandoned(held.row, version, src=held.source(version.seq))


def _buried(held: documents.Held, *, now: float) -> int:
    doomed = _over(held)
    if doomed:
        documents.kill(held, doomed, now=now)
        documents.save(held)
    return len(doomed)
