"""What a client asks for (a change) and what became of it (an outcome).

A `Change` is complete and validated: text already hashed, and stored as a blob where it is large. The ledger decides it
with `domain.steps.accept` inside one transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bloomweaver.domain.documents import Content, DocumentKey, Meta, MetadataValue, Row, State
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe, TenantId
from bloomweaver.domain.reasons import Reason


class ChangeType(StrEnum):
    """The wire's verbs. insert, update and upsert all mean "make it so"."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"


class Outcome(StrEnum):
    """What an accepted change was."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    METADATA_ONLY = "metadata_only"
    DELETED = "deleted"
    SUPERSEDED = "superseded"
    DUPLICATE = "duplicate"


class Lane(StrEnum):
    """The queues that carry hints. CHANGE is one queue per space."""

    CHANGE = "change"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class EventIdentity:
    """(tenant, collection, source, event_id) identifies an event; the fingerprint tells its content."""

    source: str
    event_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class MetaPatch:
    """PATCH: what is given replaces; a None inside `metadata` removes that key; clear_* empties the field."""

    title: str | None = None
    url: str | None = None
    metadata: Mapping[str, MetadataValue | None] | None = None
    clear_title: bool = False
    clear_url: bool = False


@dataclass(frozen=True, slots=True)
class Expect:
    """A precondition: `absent` for If-None-Match: *, `seq` for If-Match, `present` for routes that answer 404."""

    absent: bool = False
    present: bool = False
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One validated change of one document.

    Exactly one of content (replace whole, with meta), patch, or neither (delete). source_version is None in an
    arrival-ordered collection, and for the DELETE route without one: then what is there goes.
    collection_uid: set where something was already stored for that very collection (a blob): another one under the same
    name is then COLLECTION_NOT_FOUND. meta_hash: that of `meta`, where somebody has it already.
    """

    tenant: TenantId
    collection: str
    document_id: DocumentId
    event: EventIdentity
    content: Content | None = None
    meta: Meta | None = None
    patch: MetaPatch | None = None
    source_version: int | None = None
    expect: Expect | None = None
    batch_id: str | None = None
    occurred_at: str | None = None
    origin: str = ""
    actor: str = ""
    request_id: str = ""
    collection_uid: CollectionUid | None = None
    meta_hash: str | None = None

    @property
    def deletes(self) -> bool:
        """Whether this is a delete."""
        return self.content is None and self.patch is None


@dataclass(frozen=True, slots=True)
class Hint:
    """A message: "look at this document". It never says what to do; the row does.

    unanswered: how many receipts of it, and of those that it took the place of, ended without a word: their reader may
    have died of the document.
    """

    tenant: TenantId
    collection_uid: CollectionUid
    document_id: DocumentId
    seq: int
    pipe: Pipe | None = None
    traceparent: str | None = None
    unanswered: int = 0

    @property
    def key(self) -> DocumentKey:
        """The row that the hint points at."""
        return DocumentKey(self.collection_uid, self.document_id)


@dataclass(frozen=True, slots=True)
class Step:
    """Where a document has to go next: a lane and, for CHANGE, the space of its queue."""

    lane: Lane
    seq: int
    pipe: Pipe
    space: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted change: its outcome, the row after it, and where the document goes next.

    original: the stored outcome where this one is DUPLICATE. detail: why, e.g. `equal_source_version`.
    seq: the seq that the event was given (the row's, where it took none).
    """

    outcome: Outcome
    row: Row | None
    seq: int
    event_id: str
    collection_uid: CollectionUid
    original: Outcome | None = None
    reason: Reason | None = None
    steps: tuple[Step, ...] = ()
    keeps_blob: bool = False

    @property
    def state(self) -> State:
        """The document's state right after the change; DELETED where there is no row."""
        return self.row.state if self.row else State.DELETED


@dataclass(frozen=True, slots=True)
class Rejected:
    """A change that was refused; nothing of it is stored."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the inbox."""

    collection_uid: CollectionUid
    document_id: DocumentId
    identity: EventIdentity
    outcome: Outcome
    reason: Reason | None
    seq: int
    actor: str
    at: float
    batch_id: str | None = None


def repeated(event: StoredEvent, change: Change, row: Row | None) -> Accepted | Rejected:
    """R2: the same event again has its stored answer; another one under its name has none."""
    if event.identity.fingerprint != change.event.fingerprint:
        detail = f"The event id {event.identity.event_id!r} was used for another change. Give each change its own."
        return Rejected(Refusal(Reason.EVENT_ID_REUSED, detail))
    return Accepted(
        Outcome.DUPLICATE,
        row,
        event.seq,
        event.identity.event_id,
        event.collection_uid,
        original=event.outcome,
        reason=event.reason,
    )
