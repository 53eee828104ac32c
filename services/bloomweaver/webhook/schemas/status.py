"""Dead letters, redrive and status, as requests and answers show them."""

import pydantic

from bloomweaver.domain.documents import State
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import bodies
from bloomweaver.webhook.schemas import events


class DeadLetter(events.StateFields):
    """A failed document."""

    collection: str
    document_id: str
    first_failure_at: str | None
    last_failure_at: str | None
    status_url: str


class DeadLetterList(pydantic.BaseModel):
    """One page of failed documents."""

    items: list[DeadLetter]
    next_cursor: str | None


class Redrive(bodies.Body):
    """Which failed documents to try again: all where nothing is said."""

    reason: Reason | None = pydantic.Field(default=None, strict=False)
    collection: str | None = pydantic.Field(default=None, max_length=63)
    documents: list[str] | None = pydantic.Field(
        default=None, min_length=1, max_length=1000, description="Ids; `collection` says where they are."
    )


class Redriven(pydantic.BaseModel):
    """How many documents are on their way again."""

    redriven: int


class Queue(pydantic.BaseModel):
    """What a queue holds. oldest_age_seconds: null where the queue's server does not tell it."""

    visible: int
    in_flight: int
    delayed: int
    dead: int
    oldest_age_seconds: float | None


class Embedder(pydantic.BaseModel):
    """An embedding model that is ready in this process."""

    model: str
    space: str
    waiting: int


class Store(pydantic.BaseModel):
    """A store, asked just now."""

    reachable: bool
    reason: str | None


class Status(pydantic.BaseModel):
    """How things stand. queues, embedders and stores only for a key with the verb admin."""

    version: str
    counts: dict[State, int]
    oldest_pending_age_seconds: float | None
    queues: dict[str, Queue] | None = None
    embedders: list[Embedder] | None = None
    stores: dict[str, Store] | None = None
