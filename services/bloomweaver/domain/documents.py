"""The nouns of the protocol: a document's row, its revisions (what was sent) and versions (what was built from them).

The row is the truth about a document: `seq` is what the client wants, `live` is what search may show.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from bloomweaver.domain.identity import BuildId, CollectionUid, DocumentId, Pipe, TenantId
from bloomweaver.domain.reasons import Reason

MetadataValue: TypeAlias = str | int | float | bool | tuple[str, ...]
Metadata: TypeAlias = Mapping[str, MetadataValue]


class Ordering(StrEnum):
    """How a collection orders changes of one document; fixed for the collection's life."""

    ARRIVAL = "arrival"
    SOURCE = "source"


class State(StrEnum):
    """What a person is told about a document, in this precedence."""

    DELETED = "deleted"
    FAILED = "failed"
    SEARCHABLE = "searchable"
    UPDATING = "updating"
    INDEXING = "indexing"
    PENDING = "pending"


class VersionState(StrEnum):
    """The life of what was built: intent, ready, live, dead, gone; or failed."""

    INTENT = "intent"
    READY = "ready"
    LIVE = "live"
    DEAD = "dead"
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a collection's documents are cut, in tokens of its model."""

    max_tokens: int
    overlap_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One way of making vectors out of text: `pipe` names a namespace, `space` a model's vector space."""

    pipe: Pipe
    space: str
    model: str
    chunking: Chunking
    revision: str


@dataclass(frozen=True, slots=True)
class Generation:
    """Which pipelines a collection is kept in. `epoch` rises with every change of the others (the fence of R8 and R15).

    building: a re-index in progress. previous: the pipeline before the last promotion, kept current until
    `previous_until` (the soak), so that a rollback is the pointer alone.
    """

    collection_uid: CollectionUid
    epoch: int
    active: Pipeline
    building: Pipeline | None = None
    previous: Pipeline | None = None
    previous_until: float | None = None

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """All that every new version is built for, the active one first."""
        return tuple(p for p in (self.active, self.building, self.previous) if p is not None)

    def pipeline(self, pipe: str) -> Pipeline | None:
        """The current pipeline of that name."""
        return next((p for p in self.pipelines if p.pipe == pipe), None)


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents of one tenant. A uid is never used again; the name may be."""

    uid: CollectionUid
    tenant: TenantId
    name: str
    ordering: Ordering
    description: str
    created_at: float


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """The primary key of a row."""

    collection_uid: CollectionUid
    document_id: DocumentId


@dataclass(frozen=True, slots=True)
class Row:
    """The ledger's truth about one document. Times are seconds since the epoch on the ledger's clock.

    src: order key of the desired revision. fsrc: floor raised by deletes; a version with src <= fsrc is never shown.
    started: the seq for which an intent exists. hints: how often the reconciler has hinted since the accept.
    """

    key: DocumentKey
    seq: int
    src: int
    fsrc: int = 0
    tomb: bool = False
    live: int = 0
    content_hash: str = ""
    meta_hash: str = ""
    started: int = 0
    attempts: int = 0
    next_try: float | None = None
    reason: Reason | None = None
    detail: str = ""
    failed: bool = False
    first_failure_at: float | None = None
    last_failure_at: float | None = None
    accepted_at: float = 0.0
    hinted_at: float | None = None
    hints: int = 0
    shown_at: float | None = None

    @property
    def state(self) -> State:
        """The state, in the precedence that API.md fixes."""
        if self.tomb:
            return State.DELETED
        if self.failed:
            return State.FAILED
        if self.live == self.seq:
            return State.SEARCHABLE
        if self.live:
            return State.UPDATING
        return State.INDEXING if self.started == self.seq else State.PENDING


@dataclass(frozen=True, slots=True)
class Content:
    """Text as it was sent: inline up to INLINE_TEXT_BYTES, else under `blob`. `hash` covers media type and bytes."""

    media_type: str
    hash: str
    size_bytes: int
    text: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    """What rides beside the content. A change of it embeds nothing."""

    title: str | None = None
    url: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revision:
    """What was sent and accepted under one seq. content is None for a tombstone."""

    key: DocumentKey
    seq: int
    src: int
    content: Content | None
    meta: Meta
    origin: str
    actor: str
    request_id: str
    event_id: str
    occurred_at: str | None
    accepted_at: float
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What was built from one revision in one pipeline. The vectors `doc16/seq/pipe8/0..n_chunks-1` are its own (R6).

    removals: how often its vectors were removed since it died (R9 removes twice).
    """

    key: DocumentKey
    seq: int
    pipe: Pipe
    build: BuildId
    n_chunks: int
    state: VersionState
    since: float
    content_hash: str
    removals: int = 0
    tokens_embedded: int = 0
    tokens_reused: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for the workers of one queue.

    bytes: of its text, from a sample; 0 where a store cannot tell. new, shown: whether documents that no search shows
    yet, and those that one does, are in the sample; both where a store cannot tell.
    """

    lane: str
    documents: int
    bytes: int = 0
    new: bool = True
    shown: bool = True


def backlog_of(counted: Iterable[Backlog]) -> list[Backlog]:
    """Added up by lane; what waits for no queue is left out."""
    lanes: dict[str, Backlog] = {}
    for one in counted:
        if one.lane and one.documents:
            before = lanes.get(one.lane, Backlog(one.lane, 0, new=False, shown=False))
            lanes[one.lane] = Backlog(
                one.lane,
                before.documents + one.documents,
                before.bytes + one.bytes,
                new=before.new or one.new,
                shown=before.shown or one.shown,
            )
    return list(lanes.values())


def backlog_row(row: tuple[str, int, float, bool | None, bool | None]) -> Backlog:
    """(lane, documents, bytes of one, new, shown) as SQL gives it; None for the last two where nothing was sampled."""
    lane, documents, size, new, shown = row
    return Backlog(lane, documents, round(documents * float(size)), new=bool(new), shown=bool(shown))


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk of a build, for hits and look-ups. start and end are code points of the extracted text."""

    index: int
    kind: str
    hash: str
    text: str
    start: int
    end: int
    heading: tuple[str, ...] = ()
    page: int | None = None
