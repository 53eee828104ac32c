"""Tables to the domain's nouns and back, for SQLite and PostgreSQL: the one place that knows the order of columns.

The tables of both hold the same columns; what differs is how a chunk is numbered.
"""

import functools
import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from bloomweaver.domain.documents import (
    Chunking,
    ChunkRow,
    Collection,
    Content,
    DocumentKey,
    Generation,
    Meta,
    Metadata,
    Ordering,
    Pipeline,
    Revision,
    Row,
    Version,
    VersionState,
)
from bloomweaver.domain.events import EventIdentity, Outcome, StoredEvent
from bloomweaver.domain.identity import BuildId, CollectionUid, DocumentId, Pipe, TenantId
from bloomweaver.domain.reasons import Reason

Record: TypeAlias = tuple[Any, ...]

COLLECTION = (
    "cid, uid, tenant, name, ordering, description, created_at, epoch, active, building, previous, previous_until"
)
DOCUMENT = (
    "did, doc, seq, src, fsrc, tomb, live, content_hash, meta_hash, started, attempts, next_try, reason, detail,"
    " failed, first_failure_at, last_failure_at, accepted_at, hinted_at, hints, shown_at"
)
DOCUMENT_WIDTH = 21
VERSION = "seq, pipe, build, n_chunks, state, since, content_hash, removals, tokens_embedded, tokens_reused"
REVISION = (
    "seq, src, media_type, content_hash, size_bytes, blob, title, url, metadata, origin, actor, request_id, event_id,"
    " occurred_at, accepted_at, tokens, text"
)
CHUNK_BESIDE_INDEX = 'kind, hash, text, start, "end", heading, page'
EVENT = "doc, source, event_id, fingerprint, outcome, reason, seq, actor, at, batch_id"

CHUNK_WIDTH = 8
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_VERSION_STATES = {state.value: state for state in VersionState}
_REASONS = {reason.value: reason for reason in Reason}


def of(alias: str, columns: str) -> str:
    """The columns, named with the table's alias."""
    return ", ".join(f"{alias}.{name.strip()}" for name in columns.split(","))


@dataclass(frozen=True, slots=True)
class StoredCollection:
    """A collection's row: its number inside the database, itself and its generation."""

    cid: int
    collection: Collection
    generation: Generation


@functools.lru_cache(maxsize=4096)
def collection_of(record: Record) -> StoredCollection:
    """From `COLLECTION`. Equal records give the same object: every accept reads one."""
    cid, uid, tenant, name, ordering, description, created_at, epoch, active, building, previous, until = record
    collection = Collection(
        CollectionUid(uid), TenantId(tenant), name, Ordering(ordering), description, created_at=created_at
    )
    generation = Generation(
        collection.uid,
        epoch,
        pipeline_of(active),
        None if building is None else pipeline_of(building),
        None if previous is None else pipeline_of(previous),
        until,
    )
    return StoredCollection(cid, collection, generation)


@functools.lru_cache(maxsize=1024)
def pipeline_of(text: str) -> Pipeline:
    """A pipeline from its JSON."""
    pipe, space, model, max_tokens, overlap_tokens, revision = json.loads(text)
    return Pipeline(Pipe(pipe), space, model, Chunking(max_tokens, overlap_tokens), revision)


def pipeline_json(pipeline: Pipeline | None) -> str | None:
    """Its JSON; equal pipelines give equal text."""
    if pipeline is None:
        return None
    chunking = pipeline.chunking
    parts = [pipeline.pipe, pipeline.space, pipeline.model, chunking.max_tokens, chunking.overlap_tokens]
    return json.dumps([*parts, pipeline.revision], ensure_ascii=False)


def reason_of(text: str | None) -> Reason | None:
    """The reason of that name."""
    return None if text is None else _REASONS[text]


def row_of(uid: CollectionUid, record: Record) -> Row:
    """From `DOCUMENT`."""
    return Row(
        DocumentKey(uid, record[1]),
        record[2],
        record[3],
        record[4],
        record[5] == 1,
        record[6],
        record[7],
        record[8],
        record[9],
        record[10],
        record[11],
        None if record[12] is None else _REASONS[record[12]],
        record[13],
        record[14] == 1,
        *record[15:21],
    )


def row_values(row: Row) -> Record:
    """For `DOCUMENT` without did and doc, and the state after it."""
    return (
        row.seq,
        row.src,
        row.fsrc,
        row.tomb,
        row.live,
        row.content_hash,
        row.meta_hash,
        row.started,
        row.attempts,
        row.next_try,
        row.reason,
        row.detail,
        row.failed,
        row.first_failure_at,
        row.last_failure_at,
        row.accepted_at,
        row.hinted_at,
        row.hints,
        row.shown_at,
        row.state,
    )


def version_of(key: DocumentKey, record: Record) -> Version:
    """From `VERSION`."""
    seq, pipe, build, n_chunks, state, since, content_hash, removals, embedded, reused = record
    return Version(
        key,
        seq,
        Pipe(pipe),
        BuildId(build),
        n_chunks,
        _VERSION_STATES[state],
        since,
        content_hash,
        removals,
        embedded,
        reused,
    )


def revision_of(key: DocumentKey, record: Record) -> Revision:
    """From `REVISION`."""
    seq, src, media_type, content_hash, size_bytes, blob, title, url, metadata = record[:9]
    origin, actor, request_id, event_id, occurred_at, accepted_at, tokens, text = record[9:]
    content = None if media_type is None else Content(media_type, content_hash, size_bytes, text, blob)
    return Revision(
        key,
        seq,
        src,
        content,
        Meta(title, url, metadata_of(metadata)),
        origin,
        actor,
        request_id,
        event_id,
        occurred_at,
        accepted_at,
        tokens,
    )


def metadata_of(text: str | None) -> Metadata:
    """Lists come back as the tuples that they were."""
    if text is None:
        return {}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}


def metadata_json(metadata: Metadata) -> str | None:
    """None for none: most documents have none."""
    return _COMPACT.encode(dict(metadata)) if metadata else None


def chunk_of(record: Record) -> ChunkRow:
    """From the index and `CHUNK_BESIDE_INDEX`."""
    index, kind, hashed, text, start, end, heading, page = record
    return ChunkRow(index, kind, hashed, text, start, end, tuple(json.loads(heading)) if heading else (), page)


def heading_json(heading: tuple[str, ...]) -> str | None:
    """None for none."""
    return _COMPACT.encode(heading) if heading else None


def event_of(uid: CollectionUid, record: Record) -> StoredEvent:
    """From `EVENT`."""
    doc, source, event_id, fingerprint, outcome, reason, seq, actor, at, batch_id = record
    identity = EventIdentity(source, event_id, fingerprint)
    return StoredEvent(
        uid, DocumentId(doc), identity, Outcome(outcome), reason_of(reason), seq, actor, at=at, batch_id=batch_id
    )
