"""Healing on SQLite: what waits, and what has to go (R9, R12, R13).

Everything due is found through a partial index over rows that have something due, so that looking is cheap where
nothing is. What a change of generation asks of every document is found by a scan that remembers where it is.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import documents, engine
from bloomweaver.adapters.ledger import sqlite_garbage, sqlite_owning
from bloomweaver.domain import steps
from bloomweaver.domain.documents import Backlog, Version, VersionState, backlog_of, backlog_row
from bloomweaver.domain.events import Lane, Step
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.ports import healing, queues

EMPTY_LANE_SECONDS = 5.0
"""How long a hint may be under way before an empty queue means that it was lost."""

BACKFILL_PAUSE_SECONDS = 60.0
"""The scan for laggards goes on when their queue is empty, or after so long."""

SCANNED_PER_FOUND = 20
"""A scan looks at so many documents for each that it may give, then leaves the rest for the next call."""

COMPACTED_SECONDS = 60.0
"""The least time between two rewrites of the write-ahead log."""

COUNTED = 100_000
"""A backlog is counted so far; more would start no more workers."""

SAMPLED = 200
"""Documents of a lane whose size stands for all."""

_LANES = (
    "WITH RECURSIVE lanes(lane) AS (SELECT min(lane) FROM document WHERE lane IS NOT NULL UNION ALL"
    " SELECT (SELECT min(lane) FROM document WHERE lane > lanes.lane) FROM lanes WHERE lanes.lane IS NOT NULL)"
    " SELECT lane FROM lanes WHERE lane IS NOT NULL"
)
_ANY = (
    "(SELECT max({}) FROM (SELECT live FROM document"
    f" WHERE document.lane = lanes.lane ORDER BY due_at LIMIT {SAMPLED}) AS sampled)"
)
_BACKLOG = (
    "WITH RECURSIVE lanes(lane) AS (SELECT min(lane) FROM document WHERE lane IS NOT NULL UNION ALL"
    " SELECT (SELECT min(lane) FROM document WHERE lane > lanes.lane) FROM lanes WHERE lanes.lane IS NOT NULL)"
    " SELECT lane,"
    f" (SELECT count(*) FROM (SELECT 1 FROM document WHERE document.lane = lanes.lane LIMIT {COUNTED}) AS counted),"
    " (SELECT coalesce(avg(size_bytes), 0) FROM (SELECT size_bytes FROM document JOIN revision USING (seq)"
    f" WHERE document.lane = lanes.lane ORDER BY due_at LIMIT {SAMPLED}) AS sampled),"
    f" {_ANY.format('live = 0')}, {_ANY.format('live <> 0')}"
    " FROM lanes WHERE lane IS NOT NULL"
    " UNION ALL SELECT 'delete',"
    f" (SELECT count(*) FROM (SELECT 1 FROM version WHERE remove_at <= ? LIMIT {COUNTED}) AS due), 0, 0, 0"
)
_DUE = "SELECT did, cid FROM document WHERE lane = ? AND due_at <= ? ORDER BY due_at LIMIT ?"
_LOST = (
    "SELECT did, cid FROM document WHERE lane = ? AND due_at > ? AND hinted_at <= ?"
    " AND (next_try IS NULL OR next_try <= ?) ORDER BY due_at LIMIT ?"
)
_REMOVALS = (
    "SELECT did, cid FROM version JOIN document USING (did) WHERE remove_at <= ?"
    " GROUP BY did ORDER BY min(remove_at) LIMIT ?"
)
_PAGE = "SELECT did, doc FROM document WHERE cid = ? AND doc > ? ORDER BY doc LIMIT ?"
_BACKFILLS = (
    f"SELECT {rows.COLLECTION}, backfill_cursor, backfilled_at FROM collection WHERE backfill_cursor IS NOT NULL"
)
_BURIALS = f"SELECT {rows.COLLECTION}, bury_cursor FROM collection WHERE bury_cursor IS NOT NULL"


class SqliteHealing:
    """See `ports.healing`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine
        self._now = engine.clock.now
        self._dropped = False
        self._compacted_at = 0.0

    async def now(self) -> float:
        return self._now()

    async def stuck(self, *, limit: int, empty_lanes: frozenset[str] = frozenset()) -> list[healing.Stuck]:
        """See the port."""
        now = self._now()
        return await self._engine.write(lambda c: _stuck(c, limit=limit, empty_lanes=empty_lanes, now=now))

    async def backlog(self) -> list[Backlog]:
        """See the port."""
        now = self._now()
        rows = await self._engine.read(lambda c: c.execute(_BACKLOG, (now,)).fetchall())
        return backlog_of(map(backlog_row, rows))

    async def removals(self, *, limit: int) -> list[healing.Stuck]:
        """See the port."""
        now = self._now()
        return await self._engine.write(lambda c: _removals(c, limit=limit, now=now))

    async def bury(self, *, limit: int) -> int:
        """See the port."""
        now = self._now()
        return await self._engine.write(lambda c: _bury(c, limit=limit, now=now))

    async def garbage(self, *, limit: int) -> list[healing.Garbage]:
        """See the port."""
        now = self._now()
        return await self._engine.write(lambda c: sqlite_garbage.garbage(c, limit=limit, now=now))

    async def forget(self, garbage: Sequence[healing.Garbage]) -> None:
        """See the port."""
        now = self._now()
        await self._engine.write(lambda c: sqlite_garbage.forget(c, garbage, now=now))
        self._dropped = self._dropped or bool(garbage)

    async def owners(self, uid: CollectionUid, names: Sequence[tuple[str, int, str]]) -> list[healing.Owned]:
        """See the port."""
        now = self._now()
        return await self._engine.read(lambda c: sqlite_owning.owners(c, uid, names, now=now))

    async def owned_blobs(self, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
        """See the port."""
        return await self._engine.read(lambda c: sqlite_owning.owned_blobs(c, uid, blobs))

    async def swept(self, uid: CollectionUid, *, began_at: float) -> None:
        """See the port."""
        await self._engine.write(lambda c: sqlite_owning.swept(c, uid, began_at=began_at))

    async def versions(self, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
        """See the port."""
        return await self._engine.read(lambda c: sqlite_owning.versions(c, uid, after=after, limit=limit))

    async def retired(self) -> list[healing.Retired]:
        """See the port."""
        return await self._engine.read(sqlite_garbage.retired)

    async def erase(self, uid: CollectionUid, *, limit: int) -> bool:
        """See the port."""
        self._dropped = True
        now = self._now()
        return await self._engine.write(lambda c: sqlite_garbage.erase(c, uid, limit=limit, now=now))

    async def trim(self, *, limit: int) -> int:
        """See the port. What was dropped since is overwritten in the write-ahead log too, once a minute at most."""
        now = self._now()
        trimmed = await self._engine.write(lambda c: sqlite_garbage.trim(c, limit=limit, now=now))
        if self._dropped and now >= self._compacted_at + COMPACTED_SECONDS:
            self._dropped = not await self._engine.compact()
            self._compacted_at = now
        return trimmed


def _stuck(
    connection: sqlite3.Connection, *, limit: int, empty_lanes: frozenset[str], now: float
) -> list[healing.Stuck]:
    found: list[healing.Stuck] = []
    for (lane,) in connection.execute(_LANES).fetchall():
        room = limit - len(found)
        found += _hinted(connection, connection.execute(_DUE, (lane, now, room)).fetchall(), now=now)
        if lane in empty_lanes:
            lost = (lane, now, now - EMPTY_LANE_SECONDS, now, limit - len(found))
            candidates = connection.execute(_LOST, lost).fetchall()
            found += _hinted(connection, candidates, now=now, lanes=empty_lanes)
    for record in connection.execute(_BACKFILLS).fetchall():
        if len(found) < limit:
            found += _backfill(connection, record, room=limit - len(found), empty_lanes=empty_lanes, now=now)
    return found


def _hinted(
    connection: sqlite3.Connection,
    candidates: Iterable[tuple[int, int]],
    *,
    now: float,
    lanes: frozenset[str] | None = None,
) -> list[healing.Stuck]:
    """What the candidates need, marked. lanes: give only what is lost, i.e. what waits for one of these."""
    found = []
    for did, cid in candidates:
        held = documents.hold_number(connection, cid, did)
        if held is None:  # of a deleted collection: `erase` comes for it
            connection.execute("UPDATE document SET lane = NULL, due_at = NULL WHERE did = ?", (did,))
            continue
        needed = _needed(connection, held, now=now)
        wanted = tuple(s for s in needed if lanes is None or queues.queue_of(s) in lanes)
        if wanted:
            found.append(_found(held, wanted))
    return found


def _needed(connection: sqlite3.Connection, held: documents.Held, *, now: float) -> tuple[Step, ...]:
    """Flip what nothing holds up any more; else mark the row as hinted and say where it has to go."""
    was_live = held.row.live
    if held.row.live != held.row.seq:
        documents.flip_what_waits(connection, held, now=now)
    needed = steps.next_steps(held.row, held.versions, held.generation)
    if needed or held.row.live != held.row.seq:
        held.row = replace(held.row, hinted_at=now, hints=held.row.hints + 1)
    documents.save(connection, held, was_live=was_live)
    return needed


def _found(held: documents.Held, wanted: tuple[Step, ...]) -> healing.Stuck:
    return healing.Stuck(held.stored.collection.tenant, held.row.key, held.row.seq, wanted)


def _backfill(
    connection: sqlite3.Connection,
    record: rows.Record,
    *,
    room: int,
    empty_lanes: frozenset[str],
    now: float,
) -> list[healing.Stuck]:
    """R15: go on through the collection, for documents that lack something in a current pipeline."""
    stored = rows.collection_of(record[:-2])
    cursor, scanned_at = record[-2:]
    lanes = {queues.queue_name(Lane.CHANGE, pipeline.space) for pipeline in stored.generation.pipelines}
    if scanned_at is not None and now < scanned_at + BACKFILL_PAUSE_SECONDS and not lanes & empty_lanes:
        return []
    found: list[healing.Stuck] = []
    for _ in range(SCANNED_PER_FOUND):
        page = connection.execute(_PAGE, (stored.cid, cursor, room)).fetchall()
        for did, doc in page:
            cursor = doc
            found += _laggard(connection, stored, did, now=now)
            if len(found) >= room:
                break
        if len(page) < room and len(found) < room:
            cursor = None
            break
        if len(found) >= room:
            break
    connection.execute(
        "UPDATE collection SET backfill_cursor = ?, backfilled_at = ? WHERE cid = ?", (cursor, now, stored.cid)
    )
    return found


def _laggard(
    connection: sqlite3.Connection, stored: rows.StoredCollection, did: int, *, now: float
) -> list[healing.Stuck]:
    held = documents.hold_number(connection, stored.cid, did)
    if held is None:
        return []
    was_live = held.row.live
    flipped = held.row.live != held.row.seq and documents.flip_what_waits(connection, held, now=now)
    row = held.row
    if row.live == row.seq and not flipped and not steps.next_steps(row, held.versions, held.generation):
        return []
    hinted_at = row.hinted_at or 0.0
    if row.tomb or now < hinted_at + EMPTY_LANE_SECONDS or (row.next_try is not None and row.next_try > now):
        documents.save(connection, held, was_live=was_live)  # its lane may be another one now
        return []
    if flipped:
        documents.save(connection, held, was_live=was_live)
    needed = _needed(connection, held, now=now)
    return [_found(held, needed)] if needed else []


def _removals(connection: sqlite3.Connection, *, limit: int, now: float) -> list[healing.Stuck]:
    found = []
    for did, cid in connection.execute(_REMOVALS, (now, limit)).fetchall():
        held = documents.hold_number(connection, cid, did)
        if held is None:
            connection.execute("UPDATE version SET remove_at = NULL WHERE did = ?", (did,))
            continue
        due = [v for v in held.versions if steps.removal_due(v, held.row, now=now)]
        connection.execute(
            "UPDATE version SET remove_at = ? WHERE did = ? AND remove_at <= ?",
            (now + documents.GIVEN_AGAIN_SECONDS, did, now),
        )
        if due:
            pipes = dict.fromkeys(v.pipe for v in due)
            found.append(_found(held, tuple(Step(Lane.DELETE, held.row.seq, pipe) for pipe in pipes)))
    return found


def _bury(connection: sqlite3.Connection, *, limit: int, now: float) -> int:
    buried = 0
    for record in connection.execute(_BURIALS).fetchall():
        stored, cursor = rows.collection_of(record[:-1]), record[-1]
        page: list[rows.Record] = []
        for _ in range(SCANNED_PER_FOUND):
            page = connection.execute(_PAGE, (stored.cid, cursor, limit)).fetchall()
            for did, doc in page:
                cursor = doc
                buried += _bury_in(connection, stored, did, now=now)
            if len(page) < limit or buried >= limit:
                break
        cursor = None if len(page) < limit else cursor
        connection.execute("UPDATE collection SET bury_cursor = ? WHERE cid = ?", (cursor, stored.cid))
        if buried >= limit:
            break
    return buried


def _bury_in(connection: sqlite3.Connection, stored: rows.StoredCollection, did: int, *, now: float) -> int:
    held = documents.hold_number(connection, stored.cid, did)
    if held is None:
        return 0
    doomed = [v for v in held.versions if v.state not in documents.ENDED and _is_over(connection, held, v)]
    if doomed:
        documents.kill(connection, held, doomed, now=now)
        documents.save(connection, held, was_live=held.row.live)
    return len(doomed)


def _is_over(connection: sqlite3.Connection, held: documents.Held, version: Version) -> bool:
    """Of a pipeline that is not current any more, or never to be shown."""
    if held.generation.pipeline(version.pipe) is None:
        return True
    if version.state is VersionState.LIVE:
        return False
    return steps.is_abandoned(held.row, version, src=documents.source(connection, version.seq))
