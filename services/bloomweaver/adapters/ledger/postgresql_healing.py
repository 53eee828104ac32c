"""Healing on PostgreSQL: what waits, and what has to go (R9, R12, R13).

Everything due is found through a partial index over rows that have something due, so that looking is cheap where
nothing is. Invariant: what was found is looked at once more under its lock, and what another reconciler holds is left
to it, so two of them share the work and give nothing twice. What a change of generation asks of every document is found
by scans that remember where they are (`postgresql_scanning`).
"""

from collections.abc import Sequence

from bloomweaver.adapters.engines.postgresql import arrays, documents, engine, loading, writing
from bloomweaver.adapters.ledger import postgresql_garbage, postgresql_owning, postgresql_scanning
from bloomweaver.domain import steps
from bloomweaver.domain.documents import Backlog, Version, backlog_of, backlog_row
from bloomweaver.domain.events import Lane, Step
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.ports import healing, queues

EMPTY_LANE_SECONDS = postgresql_scanning.UNDER_WAY_SECONDS
"""How long a hint may be under way before an empty queue means that it was lost."""

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
    "(SELECT bool_or({}) FROM (SELECT live FROM document"
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
    f" (SELECT count(*) FROM (SELECT 1 FROM version WHERE remove_at <= %(now)s LIMIT {COUNTED}) AS due),"
    " 0, false, false"
)
_IS_DUE = "lane = %(lane)s AND due_at <= %(now)s"
_IS_LOST = (
    "lane = %(lane)s AND due_at > %(now)s AND hinted_at <= %(hinted_by)s AND (next_try IS NULL OR next_try <= %(now)s)"
)
_FIND = "SELECT did FROM document WHERE {} ORDER BY due_at LIMIT %(limit)s"
_STILL = "SELECT did FROM document WHERE did = ANY(%(dids)s::bigint[]) AND {} ORDER BY due_at"
_OF_DELETED = "cid IN (SELECT cid FROM collection WHERE deleted_at IS NOT NULL)"
_NOT_WAITING = f"UPDATE document SET lane = NULL, due_at = NULL WHERE did = ANY(%(dids)s::bigint[]) AND {_OF_DELETED}"
_REMOVALS = (
    "SELECT did FROM version WHERE remove_at <= %(now)s GROUP BY did ORDER BY min(remove_at), did LIMIT %(limit)s"
)
_GIVEN_AGAIN = (
    "UPDATE version SET remove_at = %(again)s WHERE did = ANY(%(dids)s::bigint[]) AND remove_at <= %(now)s"
    " RETURNING did, seq, pipe"
)
_NOT_REMOVED = (
    "UPDATE version SET remove_at = NULL WHERE did = ANY(%(dids)s::bigint[]) AND remove_at IS NOT NULL"
    f" AND did IN (SELECT did FROM document WHERE {_OF_DELETED})"
)


class PostgresqlHealing:
    """See `ports.healing`."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine

    async def now(self) -> float:
        """See the port."""
        return await self._engine.now()

    async def stuck(self, *, limit: int, empty_lanes: frozenset[str] = frozenset()) -> list[healing.Stuck]:
        """See the port."""
        found = await self._engine.run(lambda tx: _stuck(tx, limit=limit, empty_lanes=empty_lanes))
        for uid in await postgresql_scanning.backfills(self._engine):
            room = limit - len(found)
            if room <= 0:
                break
            found += await self._engine.run(
                lambda tx, uid=uid, room=room: postgresql_scanning.backfill(  # type: ignore[misc]  # bound to this turn
                    tx, uid, room=room, empty_lanes=empty_lanes
                )
            )
        return found

    async def backlog(self) -> list[Backlog]:
        """See the port."""
        rows = await self._engine.run(lambda tx: tx.rows(_BACKLOG, {"now": tx.now}), reads=True)
        return backlog_of(map(backlog_row, rows))

    async def removals(self, *, limit: int) -> list[healing.Stuck]:
        """See the port."""
        return await self._engine.run(lambda tx: _removals(tx, limit=limit))

    async def bury(self, *, limit: int) -> int:
        """See the port."""
        buried = 0
        for uid in await postgresql_scanning.burials(self._engine):
            if buried >= limit:
                break
            buried += await self._engine.run(
                lambda tx, uid=uid: postgresql_scanning.bury(tx, uid, limit=limit)  # type: ignore[misc]  # as above
            )
        return buried

    async def garbage(self, *, limit: int) -> list[healing.Garbage]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_garbage.garbage(tx, limit=limit))

    async def forget(self, garbage: Sequence[healing.Garbage]) -> None:
        """See the port."""
        if garbage:
            await self._engine.run(lambda tx: postgresql_garbage.forget(tx, garbage))

    async def owners(self, uid: CollectionUid, names: Sequence[tuple[str, int, str]]) -> list[healing.Owned]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_owning.owners(tx, uid, names), reads=True)

    async def owned_blobs(self, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_owning.owned_blobs(tx, uid, blobs), reads=True)

    async def swept(self, uid: CollectionUid, *, began_at: float) -> None:
        """See the port."""
        await self._engine.run(lambda tx: postgresql_owning.swept(tx, uid, began_at=began_at))

    async def versions(self, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
        """See the port."""
        return await self._engine.run(
            lambda tx: postgresql_owning.versions(tx, uid, after=after, limit=limit), reads=True
        )

    async def retired(self) -> list[healing.Retired]:
        """See the port."""
        return await postgresql_garbage.retired(self._engine)

    async def erase(self, uid: CollectionUid, *, limit: int) -> bool:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_garbage.erase(tx, uid, limit=limit))

    async def trim(self, *, limit: int) -> int:
        """See the port."""
        return await self._engine.run(lambda tx: postgresql_garbage.trim(tx, limit=limit))


async def _stuck(tx: engine.Transaction, *, limit: int, empty_lanes: frozenset[str]) -> list[healing.Stuck]:
    found: list[healing.Stuck] = []
    for (lane,) in await tx.rows(_LANES):
        values = {"lane": lane, "now": tx.now, "hinted_by": tx.now - EMPTY_LANE_SECONDS}
        found += await _hinted(tx, _IS_DUE, {**values, "limit": limit - len(found)})
        if lane in empty_lanes:
            found += await _hinted(tx, _IS_LOST, {**values, "limit": limit - len(found)}, lanes=empty_lanes)
    return found


async def _hinted(
    tx: engine.Transaction, where: str, values: dict[str, object], *, lanes: frozenset[str] | None = None
) -> list[healing.Stuck]:
    """What those found need, marked. lanes: give only what is lost, i.e. what waits for one of these."""
    dids = [did for (did,) in await tx.rows(_FIND.format(where), values)]
    if not dids:
        return []
    batch = await loading.hold_numbers(tx, dids, free=True)
    by_did = {held.did: held for held in batch.held.values()}
    given = []
    for (did,) in await tx.rows(_STILL.format(where), {**values, "dids": dids}):
        if did not in by_did:
            continue
        held = by_did[did]
        needed = postgresql_scanning.needed(batch, held)
        wanted = tuple(s for s in needed if lanes is None or queues.queue_of(s) in lanes)
        if wanted:
            given.append(postgresql_scanning.found(held, wanted))
    if len(by_did) < len(dids):  # others hold them, or they are of a deleted collection: `erase` comes for those
        await tx.run(_NOT_WAITING, {"dids": [did for did in dids if did not in by_did]})
    await writing.send(tx, batch)
    return given


async def _removals(tx: engine.Transaction, *, limit: int) -> list[healing.Stuck]:
    dids = [did for (did,) in await tx.rows(_REMOVALS, {"now": tx.now, "limit": limit})]
    if not dids:
        return []
    batch = await loading.hold_numbers(tx, dids, free=True)
    by_did = {held.did: held for held in batch.held.values()}
    again = {"dids": arrays.numbers(by_did), "now": tx.now, "again": tx.now + documents.GIVEN_AGAIN_SECONDS}
    still = {did for did, _, _ in await tx.rows(_GIVEN_AGAIN, again)}
    given = []
    for did in dids:
        if did in still:
            held = by_did[did]
            due = [v for v in held.versions if steps.removal_due(v, held.row, now=tx.now)]
            pipes = dict.fromkeys(v.pipe for v in due)
            if pipes:
                given.append(
                    postgresql_scanning.found(held, tuple(Step(Lane.DELETE, held.row.seq, pipe) for pipe in pipes))
                )
    if len(by_did) < len(dids):
        await tx.run(_NOT_REMOVED, {"dids": [did for did in dids if did not in by_did]})
    return given
