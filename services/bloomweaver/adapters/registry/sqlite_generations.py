"""Which pipelines a collection is kept in, changed by compare-and-set (R15).

Invariant: with every change the epoch rises, documents that waited are looked at again at once, and two scans begin:
one finds what the new generation needs, the other buries what it no longer names.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from bloomweaver.adapters.engines import rows
from bloomweaver.adapters.engines.sqlite import documents
from bloomweaver.domain import generations
from bloomweaver.domain.documents import DocumentKey, Generation, Pipeline
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe
from bloomweaver.ports import registry

LAGGARDS_NAMED = 20

_GATE = (
    "SELECT count(*), coalesce(sum(v.state IN ('ready', 'live')), 0), coalesce(sum(v.state = 'failed'), 0)"
    " FROM document d LEFT JOIN version v ON v.did = d.did AND v.seq = d.live AND v.pipe = ?"
    " WHERE d.cid = ? AND d.live > 0"
)
_LAGGARDS = (
    "SELECT d.doc FROM document d LEFT JOIN version v ON v.did = d.did AND v.seq = d.live AND v.pipe = ?"
    " WHERE d.cid = ? AND d.live > 0 AND (v.state IS NULL OR v.state NOT IN ('ready', 'live')) ORDER BY d.doc LIMIT ?"
)
_SAVE = (
    "UPDATE collection SET epoch = ?, active = ?, building = ?, previous = ?, previous_until = ?, backfill_cursor = '',"
    " backfilled_at = NULL, bury_cursor = '' WHERE cid = ?"
)
_WAKE = (
    "UPDATE document SET due_at = ? WHERE cid = ? AND lane IS NOT NULL AND state IN ('pending', 'indexing', 'updating')"
)

Change = Callable[[sqlite3.Connection, rows.StoredCollection], registry.Moved]


def build(
    connection: sqlite3.Connection, stored: rows.StoredCollection, pipeline: Pipeline | None, *, now: float
) -> registry.Moved:
    """Another pipeline beside the active one; the active one itself means none."""
    wanted = generations.beside(stored.generation, pipeline)
    return registry.Moved(wanted) if wanted is stored.generation else _save(connection, stored, wanted, now=now)


def promote(
    connection: sqlite3.Connection, stored: rows.StoredCollection, *, force: bool, soak_seconds: float, now: float
) -> registry.Moved:
    """The building pipeline becomes active, if the gate is open."""
    wanted = generations.promoted(stored.generation, until=now + soak_seconds)
    return _activate(connection, stored, wanted, force=force, now=now)


def roll_back(
    connection: sqlite3.Connection, stored: rows.StoredCollection, *, force: bool, now: float
) -> registry.Moved:
    """The previous pipeline, which was kept current, is active again."""
    return _activate(connection, stored, generations.rolled_back(stored.generation), force=force, now=now)


def _activate(
    connection: sqlite3.Connection,
    stored: rows.StoredCollection,
    wanted: Generation | None,
    *,
    force: bool,
    now: float,
) -> registry.Moved:
    if wanted is None:
        return registry.Moved(None)
    counted = gate(connection, stored, wanted.active.pipe)
    if not counted.open and not force:
        return registry.Moved(None, counted)
    return _save(connection, stored, wanted, now=now, counted=counted)


def end_soak(connection: sqlite3.Connection, stored: rows.StoredCollection, *, now: float) -> registry.Moved:
    """The previous pipeline is given up."""
    wanted = generations.soaked(stored.generation)
    return registry.Moved(None) if wanted is None else _save(connection, stored, wanted, now=now)


def gate(connection: sqlite3.Connection, stored: rows.StoredCollection, pipe: Pipe) -> registry.Gate:
    """Counted row by row: promotion rests on it."""
    place = (pipe, stored.cid)
    total, ready, failed = connection.execute(_GATE, place).fetchone()
    laggards: tuple[DocumentKey, ...] = ()
    if total != ready:
        uid = stored.collection.uid
        found = connection.execute(_LAGGARDS, (*place, LAGGARDS_NAMED))
        laggards = tuple(DocumentKey(uid, DocumentId(doc)) for (doc,) in found)
    return registry.Gate(total, ready, failed, laggards)


def compare_and_set(connection: sqlite3.Connection, uid: CollectionUid, epoch: int, change: Change) -> registry.Moved:
    """The change, if the generation is still the one that was read."""
    stored = documents.collection_by_uid(connection, uid)
    if stored is None or stored.generation.epoch != epoch:
        return registry.Moved(None)
    return change(connection, stored)


def add_namespace(connection: sqlite3.Connection, cid: int, pipe: Pipe) -> None:
    """Remembered for as long as the collection's remains are."""
    connection.execute("INSERT INTO namespace VALUES (?, ?, NULL) ON CONFLICT DO NOTHING", (cid, pipe))


def _save(
    connection: sqlite3.Connection,
    stored: rows.StoredCollection,
    wanted: Generation,
    *,
    now: float,
    counted: registry.Gate | None = None,
) -> registry.Moved:
    wanted = replace(wanted, epoch=stored.generation.epoch + 1)
    pipelines = [rows.pipeline_json(p) for p in (wanted.active, wanted.building, wanted.previous)]
    connection.execute(_SAVE, (wanted.epoch, *pipelines, wanted.previous_until, stored.cid))
    for pipeline in wanted.pipelines:
        add_namespace(connection, stored.cid, pipeline.pipe)
    if wanted.active != stored.generation.active:
        # What it had given up while it was not active is tried again, and then fails where a person sees it.
        connection.execute(
            "DELETE FROM version WHERE state = 'failed' AND pipe = ?"
            " AND did IN (SELECT did FROM document WHERE cid = ?)",
            (wanted.active.pipe, stored.cid),
        )
    connection.execute(_WAKE, (now, stored.cid))
    documents.next_flip(connection)
    return registry.Moved(wanted, counted)
