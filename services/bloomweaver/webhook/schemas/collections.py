"""Collections and their re-index, as requests and answers show them."""

from typing import Literal

import pydantic

from bloomweaver.domain.documents import Ordering, State
from bloomweaver.runtime.web import bodies
from bloomweaver.webhook import managing


class Chunking(bodies.Body):
    """How documents are cut, in tokens of the model. What is omitted is kept."""

    max_tokens: int | None = pydantic.Field(default=None, ge=1, le=1_000_000)
    overlap_tokens: int | None = pydantic.Field(default=None, ge=0, le=1_000_000)


class CollectionBody(bodies.Body):
    """What a collection should be. Omitted fields keep their value, or take the default when it is made."""

    model: str | None = pydantic.Field(default=None, min_length=1, max_length=200)
    ordering: Literal["arrival", "source"] | None = None
    chunking: Chunking | None = None
    description: str | None = pydantic.Field(default=None, max_length=2000)


class ChunkingView(pydantic.BaseModel):
    """How documents are cut."""

    max_tokens: int
    overlap_tokens: int


class Gate(pydantic.BaseModel):
    """Whether promotion needs no force; laggards: some documents that are not ready."""

    open: bool
    ready: int
    laggards: list[str]


class Cost(pydantic.BaseModel):
    """By the provider's list price."""

    amount: float
    currency: str
    per_million_tokens: float
    source: str
    as_of: str


class Estimate(pydantic.BaseModel):
    """What is left to do; tokens and chunks are extrapolated from a sample. seconds: of one pod, null while none has
    measured itself. cost: null where no price is known."""

    documents: int
    tokens: int
    chunks: int
    vector_bytes: int
    seconds: int | None
    cost: Cost | None


class Reindex(pydantic.BaseModel):
    """A re-index: being built, or kept for a rollback (soaking)."""

    state: managing.ReindexState
    model: str | None
    total: int | None
    done: int | None
    failed: int | None
    gate: Gate | None
    estimate: Estimate | None
    soak_until: str | None


class Collection(pydantic.BaseModel):
    """A collection."""

    name: str
    model: str
    ordering: Ordering
    chunking: ChunkingView
    description: str
    created_at: str
    counts: dict[State, int]
    oldest_pending_age_seconds: float | None
    reindex: Reindex


class CollectionList(pydantic.BaseModel):
    """One page of collections."""

    items: list[Collection]
    next_cursor: str | None


class Deleted(pydantic.BaseModel):
    """The name is free; the rest is removed behind it."""

    name: str
    state: Literal["deleting"]
