"""Which pipelines a collection is kept in, changed by compare-and-set (R15).

Invariant: a change holds the collection alone, so no row is written by a generation that it replaces; with it the epoch
rises, documents that waited are looked at again at once, and two scans begin: one finds what the new generation needs,
the other buries what it no longer names.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.postgresql import arrays, engine, loading
from bloomweaver.domain import generations
from bloomweaver.domain.documents import DocumentKey, Generation, Pipeline
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe
from bloomweaver.ports import registry

LAGGARDS_NAMED = 20

_OF_LIVE = (
    " FROM document d LEFT JOIN version v ON v.did = d.did AND v.seq = d.live AND v.pipe = %s"
    " WHERE d.cid = %s AND d.live > 0"
)
_GATE = (
    "SELECT count(*), count(*) FILTER (WHERE v.state IN ('ready', 'live')),"
    f" count(*) FILTER (WHERE v.state = 'failed'){_OF_LIVE}"
)
_LAGGARDS = f"SELECT d.doc{_OF_LIVE} AND coalesce(v.state NOT IN ('ready', 'live'), TRUE) ORDER BY d.doc LIMIT %s"
_SAVE = (
    "UPDATE collection SET epoch = %s, active = %s, building = %s, previous = %s, previous_until = %s,"
    " backfill_cursor = '', backfilled_at = NULL, bury_cursor = '' WHERE cid = %s"
)
_WAKE = (
    "UPDATE document SET due_at = %s"
    " WHERE cid = %s AND lane IS NOT NULL AND state IN ('pending', 'indexing', 'updating')"
)
_TRY_AGAIN = (
    "DELETE FROM version v USING document d WHERE d.cid = %s AND v.did = d.did AND v.state = 'failed' AND v.pipe = %s"
)

Change = Callable[[engine.Transaction, rows.StoredCollection], Awaitable[registry.Moved]]


async def build(tx: engine.Transaction, stored: rows.StoredCollection, pipeline: Pipeline | None) -> registry.Moved:
    """Another pipeline beside the active one; the active one itself means none."""
    wanted = generations.beside(stored.generation, pipeline)
    return registry.Moved(wanted) if wanted is stored.generation else await _save(tx, stored, wanted)


async def promote(
    tx: engine.Transaction, stored: rows.StoredCollection, *, force: bool, soak_seconds: float
) -> registry.Moved:
    """The building pipeline becomes active, if the gate is open."""
    return await _activate(
        tx, stored, generations.promoted(stored.generation, until=tx.now + soak_seconds), force=force
    )


async def roll_back(tx: engine.Transaction, stored: rows.StoredCollection, *, force: bool) -> registry.Moved:
    """The previous pipeline, which was kept current, is active again."""
    return await _activate(tx, stored, generations.rolled_back(stored.generation), force=force)


async def _activate(
    tx: engine.Transaction, stored: rows.StoredCollection, wanted: Generation | None, *, force: bool
) -> registry.Moved:
    if wanted is None:
        return registry.Moved(None)
    counted = await gate(tx, stored, wanted.active.pipe)
    if not counted.open and not force:
        return registry.Moved(None, counted)
    return await _save(tx, stored, wanted, counted=counted)


async def end_soak(tx: engine.Transaction, stored: rows.StoredCollection) -> registry.Moved:
    """The previous pipeline is given up."""
    wanted = generations.soaked(stored.generation)
    return registry.Moved(None) if wanted is None else await _save(tx, stored, wanted)


async def gate(tx: engine.Transaction, stored: rows.StoredCollection, pipe: Pipe) -> registry.Gate:
    """Counted row by row: promotion rests on it."""
    place = (pipe, stored.cid)
    record = await tx.row(_GATE, place)
    assert record is not None
    total, ready, failed = record
    laggards: tuple[DocumentKey, ...] = ()
    if total != ready:
        uid = stored.collection.uid
        found = await tx.rows(_LAGGARDS, (*place, LAGGARDS_NAMED))
        laggards = tuple(DocumentKey(uid, DocumentId(doc)) for (doc,) in found)
    return registry.Gate(total, ready, failed, laggards)


async def compare_and_set(tx: engine.Transaction, uid: CollectionUid, epoch: int, change: Change) -> registry.Moved:
    """The change, if the generation is still the one that was read."""
    stored = await loading.alone(tx, uid)
    if stored is None or stored.generation.epoch != epoch:
        return registry.Moved(None)
    return await change(tx, stored)


async def add_namespaces(tx: engine.Transaction, cid: int, pipes: Iterable[Pipe]) -> None:
    """Remembered for as long as the collection's remains are."""
    statement = "INSERT INTO namespace (cid, pipe) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING"
    await tx.run(statement, (cid, arrays.texts(sorted(set(pipes)))))


async def _save(
    tx: engine.Transaction,
    stored: rows.StoredCollection,
    wanted: Generation,
    *,
    counted: registry.Gate | None = None,
) -> registry.Moved:
    wanted = replace(wanted, epoch=stored.generation.epoch + 1)
    pipelines = [rows.pipeline_json(p) for p in (wanted.active, wanted.building, wanted.previous)]
    await tx.run(_SAVE, (wanted.epoch, *pipelines, wanted.previous_until, stored.cid))
    await add_namespaces(tx, stored.cid, (pipeline.pipe for pipeline in wanted.pipelines))
    if wanted.active != stored.generation.active:
        # What it had given up while it was not active is tried again, and then fails where a person sees it.
        await tx.run(_TRY_AGAIN, (stored.cid, wanted.active.pipe))
    await tx.run(_WAKE, (tx.now, stored.cid))
    return registry.Moved(wanted, counted)
