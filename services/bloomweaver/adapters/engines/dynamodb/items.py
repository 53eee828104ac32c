"""Items to the domain's nouns and back: the one place that knows their attributes.

What is written, read and decided as a whole is one JSON text per item (`body`); attributes of their own are only what
conditions, counters, indexes and projections name. Long texts are compressed: an item has 400 kB, and its size is paid.
"""

import functools
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from bloomweaver.adapters.engines.dynamodb import keys
from bloomweaver.domain import errors
from bloomweaver.domain.documents import (
    Chunking,
    ChunkRow,
    Collection,
    Content,
    DocumentKey,
    Generation,
    Meta,
    Ordering,
    Pipeline,
    Revision,
    Version,
    VersionState,
)
from bloomweaver.domain.events import EventIdentity, Outcome, StoredEvent
from bloomweaver.domain.identity import BuildId, CollectionUid, DocumentId, Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

Item: TypeAlias = Mapping[str, Mapping[str, Any]]

PACKED_FROM_BYTES = 2048
TEXT_BYTES = 350_000
"""Of one text, compressed; an item has 400 kB."""

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def text(value: str) -> dict[str, Any]:
    """An attribute."""
    return {"S": value}


def number(value: float) -> dict[str, Any]:
    """An attribute, exact for integers of 38 digits and for every float that a clock gives."""
    return {"N": repr(value)}


def named(key: keys.Key) -> dict[str, Any]:
    """The primary key."""
    return {"pk": text(key[0]), "sk": text(key[1])}


def key_of(item: Item) -> keys.Key:
    """The primary key of an item."""
    return str(item["pk"]["S"]), str(item["sk"]["S"])


def dumped(value: object) -> dict[str, Any]:
    """The attribute `body`."""
    return text(_COMPACT.encode(value))


def loaded(item: Item) -> Any:
    """What `body` holds."""
    return json.loads(item["body"]["S"])


def integer(item: Item, name: str, default: int = 0) -> int:
    """A counter."""
    return int(item[name]["N"]) if name in item else default


def decimal(item: Item, name: str) -> float | None:
    """A time."""
    return float(item[name]["N"]) if name in item else None


def packed(value: str) -> dict[str, Any]:
    """A text, compressed where that pays."""
    data = value.encode()
    if len(data) < PACKED_FROM_BYTES:
        return text(value)
    squeezed = zlib.compress(data, 6)
    if len(squeezed) > TEXT_BYTES:
        detail = f"A text of {len(data)} bytes does not fit an item of DynamoDB, even compressed."
        raise errors.PermanentError(Reason.TEXT_TOO_LONG, detail)
    return {"B": squeezed}


def unpacked(value: Mapping[str, Any]) -> str:
    """The text again."""
    if "S" in value:
        return str(value["S"])
    return zlib.decompress(value["B"]).decode()


@dataclass(frozen=True, slots=True)
class StoredCollection:
    """A collection and its generation."""

    collection: Collection
    generation: Generation


def collection_item(stored: StoredCollection) -> dict[str, Any]:
    """As it is made."""
    made = stored.collection
    body = [made.tenant, made.name, made.ordering, made.created_at]
    return {
        **named(keys.collection(made.uid)),
        "body": dumped(body),
        "description": text(made.description),
        **generation_attributes(stored.generation),
    }


def collection_of(item: Item) -> StoredCollection | None:
    """None for a deleted one."""
    return None if "deleted_at" in item else deleted_or_not(item)


def deleted_or_not(item: Item) -> StoredCollection:
    """Also one whose remains are being removed."""
    uid = CollectionUid(item["pk"]["S"].partition("#")[2])
    tenant, name, ordering, created_at = loaded(item)
    collection = Collection(uid, TenantId(tenant), name, Ordering(ordering), item["description"]["S"], created_at)
    return StoredCollection(collection, _generation_of(uid, int(item["epoch"]["N"]), item["pipelines"]["S"]))


def generation_attributes(generation: Generation) -> dict[str, Any]:
    """`epoch` and `pipelines`."""
    pipelines = [_pipeline_parts(p) for p in (generation.active, generation.building, generation.previous)]
    return {"epoch": number(generation.epoch), "pipelines": dumped([*pipelines, generation.previous_until])}


def _pipeline_parts(pipeline: Pipeline | None) -> list[object] | None:
    if pipeline is None:
        return None
    chunking = pipeline.chunking
    parts = [pipeline.pipe, pipeline.space, pipeline.model, chunking.max_tokens, chunking.overlap_tokens]
    return [*parts, pipeline.revision]


@functools.lru_cache(maxsize=1024)
def _generation_of(uid: CollectionUid, epoch: int, pipelines: str) -> Generation:
    active, building, previous, until = json.loads(pipelines)
    return Generation(
        uid,
        epoch,
        _pipeline_of(active),
        None if building is None else _pipeline_of(building),
        None if previous is None else _pipeline_of(previous),
        until,
    )


def _pipeline_of(parts: list[Any]) -> Pipeline:
    pipe, space, model, max_tokens, overlap_tokens, revision = parts
    return Pipeline(Pipe(pipe), space, model, Chunking(max_tokens, overlap_tokens), revision)


@dataclass(frozen=True, slots=True)
class Gate:
    """One shard's fence. flips: changes of what is shown; lame: flips that left a pipeline without the version."""

    flips: int
    lame: int


def gate_of(item: Item) -> Gate:
    """The state of a shard's fence."""
    return Gate(integer(item, "flips"), integer(item, "lame"))


def version_parts(version: Version) -> list[object]:
    """A version inside the body of its row."""
    return [
        version.seq,
        version.pipe,
        version.build,
        version.n_chunks,
        version.state,
        version.since,
        version.content_hash,
        version.removals,
        version.tokens_embedded,
        version.tokens_reused,
    ]


def version_of(key: DocumentKey, parts: list[Any]) -> Version:
    """From `version_parts`."""
    seq, pipe, build, n_chunks, state, since, content_hash, removals, embedded, reused = parts
    return Version(
        key,
        seq,
        Pipe(pipe),
        BuildId(build),
        n_chunks,
        VersionState(state),
        since,
        content_hash,
        removals,
        embedded,
        reused,
    )


def reason_of(name: str | None) -> Reason | None:
    """The reason of that name."""
    return None if name is None else Reason(name)


def revision_item(revision: Revision) -> dict[str, Any]:
    """As it is accepted. src and tokens change later, blob is what garbage is collected by: attributes of their own."""
    content, meta = revision.content, revision.meta
    body = [
        None if content is None else [content.media_type, content.hash, content.size_bytes],
        meta.title,
        meta.url,
        dict(meta.metadata),
        revision.origin,
        revision.actor,
        revision.request_id,
        revision.event_id,
        revision.occurred_at,
        revision.accepted_at,
    ]
    item = {**named(keys.revision(revision.key, revision.seq)), "src": number(revision.src), "body": dumped(body)}
    if revision.tokens is not None:
        item["tokens"] = number(revision.tokens)
    if content is not None and content.blob is not None:
        item["blob"] = text(content.blob)
    if content is not None and content.text is not None:
        item["content"] = packed(content.text)
    return item


def revision_of(key: DocumentKey, item: Item) -> Revision:
    """From `revision_item`; without its text where that was not read."""
    content, title, url, metadata, origin, actor, request_id, event_id, occurred_at, accepted_at = loaded(item)
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in metadata.items()}
    found = None
    if content is not None:
        media_type, hashed, size_bytes = content
        body = unpacked(item["content"]) if "content" in item else None
        blob = str(item["blob"]["S"]) if "blob" in item else None
        found = Content(media_type, hashed, size_bytes, body, blob)
    return Revision(
        key,
        revision_seq(item),
        integer(item, "src"),
        found,
        Meta(title, url, kept),
        origin,
        actor,
        request_id,
        event_id,
        occurred_at,
        accepted_at,
        integer(item, "tokens") if "tokens" in item else None,
    )


def revision_seq(item: Item) -> int:
    """The seq that a revision's sort key ends in."""
    return int(item["sk"]["S"].removeprefix(keys.REVISION))


def chunk_item(key: DocumentKey, pipe: str, build: str, chunk: ChunkRow) -> dict[str, Any]:
    """One chunk."""
    body = [chunk.index, chunk.kind, chunk.hash, chunk.start, chunk.end, chunk.heading, chunk.page]
    name = keys.chunk(key, pipe, build, chunk.index)
    return {**named(name), "body": dumped(body), "content": packed(chunk.text)}


def chunk_of(item: Item) -> ChunkRow:
    """From `chunk_item`."""
    index, kind, hashed, start, end, heading, page = loaded(item)
    return ChunkRow(index, kind, hashed, unpacked(item["content"]), start, end, tuple(heading), page)


def event_item(event: StoredEvent, *, expires_at: float) -> dict[str, Any]:
    """A line of the inbox, which the table drops by itself some time after it expired."""
    known = event.identity
    body = [
        event.document_id,
        known.source,
        known.event_id,
        known.fingerprint,
        event.outcome,
        event.reason,
        event.seq,
        event.actor,
        event.at,
        event.batch_id,
    ]
    name = keys.event(event.collection_uid, known.source, known.event_id)
    return {**named(name), "body": dumped(body), "expires": number(int(expires_at))}


def event_of(uid: CollectionUid, item: Item | None, *, now: float) -> StoredEvent | None:
    """From `event_item`; an expired one is not there."""
    if item is None or integer(item, "expires") <= now:
        return None
    document, source, event_id, fingerprint, outcome, reason, seq, actor, at, batch_id = loaded(item)
    known = EventIdentity(source, event_id, fingerprint)
    return StoredEvent(
        uid, DocumentId(document), known, Outcome(outcome), reason_of(reason), seq, actor, at=at, batch_id=batch_id
    )


def step_item(key: DocumentKey, counter: int, step: history.TimelineStep, *, expires_at: float) -> dict[str, Any]:
    """A line of the timeline. counter: how many came before it."""
    body = [counter, step.at, step.step, step.seq, step.pipe, step.reason, step.detail, step.actor, step.request_id]
    return {**named(keys.step(key, counter)), "body": dumped(body), "expires": number(int(expires_at))}


def step_of(item: Item) -> tuple[int, history.TimelineStep]:
    """From `step_item`: the counter and the line."""
    counter, at, name, seq, pipe, reason, detail, actor, request_id = loaded(item)
    named_reason = reason_of(reason)
    return counter, history.TimelineStep(at, history.StepName(name), seq, pipe, named_reason, detail, actor, request_id)
