"""Documents as answers show them."""

import pydantic

from bloomweaver.ports import history
from bloomweaver.webhook.schemas import events


class DocumentLine(events.StateFields):
    """A document in a list."""

    collection: str
    document_id: str
    title: str | None
    url: str | None
    metadata: dict[str, events.MetadataValue]
    media_type: str | None
    size_bytes: int
    tokens: int | None
    content_hash: str | None
    origin: str | None
    occurred_at: str | None
    accepted_at: str
    shown_at: str | None


class Document(DocumentLine):
    """A document. chunk_count: of the version that search shows."""

    chunk_count: int
    model: str
    space: str
    pipe: str
    source_version: str | None
    actor: str | None = None
    request_id: str | None = None
    event_id: str | None = None


class DocumentList(pydantic.BaseModel):
    """One page of documents."""

    items: list[DocumentLine]
    next_cursor: str | None


class Chunk(pydantic.BaseModel):
    """A chunk. start and end are code points of the extracted text."""

    index: int
    kind: str
    text: str
    start: int
    end: int
    heading: list[str]
    page: int | None
    hash: str


class ChunkList(pydantic.BaseModel):
    """One page of chunks."""

    items: list[Chunk]
    next_cursor: str | None


class TimelineStep(pydantic.BaseModel):
    """Something that happened to a document."""

    at: str
    step: history.StepName
    seq: int
    reason: str | None
    detail: str | None
    actor: str | None
    request_id: str | None


class Why(events.StateFields):
    """How a document stands, in words."""

    collection: str
    document_id: str
    verdict: str
    next: str
    timeline: list[TimelineStep]
