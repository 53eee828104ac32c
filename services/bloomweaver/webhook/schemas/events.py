"""Change events and their results, as clients read them in the OpenAPI document.

The hot path does not go through these models (`changes` reads events by hand); a test holds the two together.
"""

from typing import Any, Literal

import pydantic

from bloomweaver.domain import events
from bloomweaver.domain.documents import State
from bloomweaver.runtime.web import bodies

MetadataValue = str | int | float | bool | list[str]


class Document(bodies.Body):
    """A document as it is sent, without its ids."""

    text: str | None = pydantic.Field(default=None, description="Required but for a delete; at most 10 MB.")
    media_type: str = pydantic.Field(default="text/plain", examples=["text/markdown"])
    title: str | None = pydantic.Field(default=None, max_length=2000)
    url: str | None = pydantic.Field(default=None, max_length=4096)
    metadata: dict[str, MetadataValue] = pydantic.Field(default={}, description="Flat, at most 64 keys and 16 kB.")
    source_version: int | str | None = pydantic.Field(
        default=None, description="0 to 2^63-1; required where the collection orders by it, refused elsewhere."
    )
    occurred_at: str | None = pydantic.Field(default=None, description="RFC 3339.")
    batch_id: str | None = pydantic.Field(default=None, description="GET /v1/batches/{batch_id} counts by it.")
    origin: str | None = pydantic.Field(default=None, description="What the document was pushed from.")


class Event(Document):
    """One change of one document."""

    change_type: events.ChangeType = pydantic.Field(description="All but delete mean: make it so.")
    document_id: str = pydantic.Field(description="1 to 512 bytes of UTF-8.", examples=["leave-policy"])
    collection: str = pydantic.Field(default="default", examples=["handbook"])
    event_id: str | None = pydantic.Field(
        default=None, description="Else the header webhook-id or Idempotency-Key, else made."
    )


class Patch(bodies.Body):
    """A merge: null empties a field, null inside metadata removes that key."""

    title: str | None = None
    url: str | None = None
    metadata: dict[str, MetadataValue | None] | None = None


class StateFields(pydantic.BaseModel):
    """The state, flat, as in every answer that has one. seq: desired; live_seq: what search shows."""

    state: State
    seq: int
    live_seq: int
    age_seconds: float
    attempts: int
    next_try_at: str | None
    reason: str | None
    detail: str | None


class Result(StateFields):
    """What became of a change, and the state of its document. seq: the change's own."""

    event_id: str
    collection: str
    document_id: str
    outcome: events.Outcome
    original_outcome: events.Outcome | None = None
    status_url: str


class RejectedItem(pydantic.BaseModel):
    """One item that was refused; nothing of it is stored."""

    index: int
    error: dict[str, Any]


class Results(pydantic.BaseModel):
    """What became of several changes, in the order sent."""

    accepted: int
    rejected: int
    results: list[Result | RejectedItem]


class Batch(pydantic.BaseModel):
    """The documents of a batch by their state now."""

    batch_id: str
    total: int
    counts: dict[State, int]


class CloudEvent(pydantic.BaseModel):
    """A CloudEvent 1.0; `data` holds the rest of an event."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str = pydantic.Field(description="Its last segment is the change: insert, update, upsert, delete, created…")
    subject: str = pydantic.Field(description="The document's id.")
    time: str | None = None
    datacontenttype: str | None = None
    sequence: str | None = pydantic.Field(default=None, description="The source's version, digits.")
    collection: str | None = None
    data: dict[str, Any] | str | None = None
    data_base64: str | None = None


def request_body() -> dict[str, object]:
    """For `openapi_extra`: every form in which events come."""
    event = Event.model_json_schema(ref_template="#/components/schemas/{model}")
    cloud = CloudEvent.model_json_schema(ref_template="#/components/schemas/{model}")
    several = {"type": "array", "items": {"$ref": "#/components/schemas/Event"}, "maxItems": 1000}
    one_or_several = {
        "oneOf": [{"$ref": "#/components/schemas/Event"}, several],
        "$defs": {**event.pop("$defs", {}), "Event": event, "CloudEvent": cloud},
    }
    clouds = {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}, "maxItems": 1000}
    lines = {"type": "string", "description": "One event per line."}
    return bodies.operation_of(
        {
            "application/json": one_or_several,
            "application/x-ndjson": lines,
            "application/cloudevents+json": {"$ref": "#/components/schemas/CloudEvent"},
            "application/cloudevents-batch+json": clouds,
        }
    )
