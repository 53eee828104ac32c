"""The ledger: the truth about every document. One method per protocol step, each atomic and durable when it returns.

Guarantees that every adapter keeps:
- a method's effects commit together or not at all, history steps included; after a return they survive power loss;
- decisions are those of `domain.steps`, taken under the row's lock; times are the ledger's own clock's;
- every read sees all commits that returned before it began (never a lagging replica);
- running a method twice with the same arguments changes nothing the second time.
Unreachable, locked or full: TransientError(LEDGER_UNAVAILABLE | DATABASE_LOCKED | DISK_FULL).
"""

from collections.abc import Collection as Some
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from bloomweaver.domain.documents import (
    ChunkRow,
    Collection,
    DocumentKey,
    Generation,
    Revision,
    Row,
    State,
    Version,
)
from bloomweaver.domain.events import Accepted, Change, Rejected, Step, StoredEvent
from bloomweaver.domain.identity import BuildId, CollectionUid, Pipe, TenantId
from bloomweaver.domain.reasons import Reason

SnapshotToken = NewType("SnapshotToken", str)


@dataclass(frozen=True, slots=True)
class Look:
    """One consistent read of all that a worker needs to know. revisions: the desired, the live and those of versions.

    at: the ledger's clock at the read; what is due is decided by it.
    """

    at: float
    collection: Collection
    generation: Generation
    row: Row
    versions: tuple[Version, ...]
    revisions: tuple[Revision, ...]

    def revision(self, seq: int) -> Revision | None:
        """What was sent under that seq."""
        return next((r for r in self.revisions if r.seq == seq), None)


@dataclass(frozen=True, slots=True)
class Intent:
    """A build is stored, its vectors are about to be written (R5). chunks: None where an earlier build serves again."""

    key: DocumentKey
    seq: int
    pipe: Pipe
    build: BuildId
    content_hash: str
    n_chunks: int
    chunks: tuple[ChunkRow, ...] | None
    tokens_embedded: int = 0
    tokens_reused: int = 0
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Intended:
    """won: this build is the version's. Not won and a version: another build was first. No version: not wanted."""

    won: bool
    version: Version | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """Every chunk of (seq, pipe) was confirmed queryable (R7). epoch: the generation's, as read before the work."""

    key: DocumentKey
    seq: int
    pipe: Pipe
    epoch: int
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did. waited_seconds: from accept to shown, where it flipped."""

    flipped: bool
    row: Row | None
    steps: tuple[Step, ...] = ()
    waited_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Work on (seq, pipe) did not succeed. permanent: never try again by itself."""

    key: DocumentKey
    seq: int
    pipe: Pipe
    reason: Reason
    detail: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a search reads first: an opaque token, each collection's generation, and its active namespace's position."""

    token: SnapshotToken
    generations: dict[CollectionUid, Generation]
    positions: dict[CollectionUid, int]


@dataclass(frozen=True, slots=True)
class Visibility:
    """The candidates' rows. moved: one of them, or the generation, flipped since the snapshot: search again (R11)."""

    rows: dict[str, Row]
    moved: bool


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """A hit that survived the filter."""

    key: DocumentKey
    seq: int
    pipe: Pipe
    index: int


@dataclass(frozen=True, slots=True)
class ShownChunk:
    """A hit's text and the revision that it came from."""

    ref: ChunkRef
    chunk: ChunkRow
    revision: Revision


@dataclass(frozen=True, slots=True)
class Listing:
    """Which documents to list, by document_id. since: accepted at or after, seconds since the epoch."""

    collection_uid: CollectionUid
    after: str = ""
    limit: int = 50
    state: State | None = None
    prefix: str = ""
    since: float | None = None
    origin: str | None = None


class Ledger(Protocol):
    """See the module's docstring for what every method guarantees."""

    async def accept(self, changes: Sequence[Change]) -> list[Accepted | Rejected]:
        """R1 to R4: decide each change in order, singly. An unknown collection is Rejected(COLLECTION_NOT_FOUND)."""
        ...

    async def event(self, uid: CollectionUid, *, source: str, event_id: str) -> StoredEvent | None:
        """The stored outcome of an event."""
        ...

    async def look(self, keys: Sequence[DocumentKey]) -> list[Look | None]:
        """One consistent read per key, None for a row or collection that is not there."""
        ...

    async def needed(self, keys: Sequence[DocumentKey]) -> list[tuple[Step, ...]]:
        """`steps.next_steps` of each, nothing for what is not there: cheaper than `look`, for hints that may be old."""
        ...

    async def rows(self, keys: Sequence[DocumentKey]) -> list[Row | None]:
        """The rows alone, for waiting and status."""
        ...

    async def documents(self, listing: Listing) -> list[tuple[Row, Revision]]:
        """Rows with their desired revision, ordered by document_id; deleted ones only where state asks for them."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> list[Intended]:
        """R5: record chunk rows and the version, first one wins, only if `steps.may_intend`."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """R7, R8: an intent becomes ready (live where its seq already is), and the row flips if `steps.may_flip`.

        A flip kills every version below it, counts in the snapshot, and dates `shown_at`.
        """
        ...

    async def postpone(self, keys: Sequence[DocumentKey], *, seq: int, reason: Reason, delay_seconds: float) -> None:
        """Not the document's fault: sets `next_try`, counts nothing. Ignored if the row moved on."""
        ...

    async def fail(self, failure: Failure) -> float | None:
        """Counts; gives the seconds until the next try, None when it failed for good. Ignored if the row moved on.

        Once per try: before the try that the last failure set is due, only a permanent one counts
        (`steps.counted_lately`).
        For good in the active pipeline: the row is `failed`; elsewhere only that pipeline's version is.
        """
        ...

    async def retry(self, key: DocumentKey, *, actor: str, request_id: str) -> Accepted | None:
        """A failed document is tried again from the beginning; None if there is no such failed document."""
        ...

    async def removed(self, versions: Sequence[Version]) -> None:
        """R9: the vectors of these dead versions were deleted: counted once, the second time the version is gone."""
        ...

    async def snapshot(self, uids: Some[CollectionUid]) -> Snapshot:
        """R11: before the vector query. Collections that are gone are left out."""
        ...

    async def visible(self, uid: CollectionUid, doc_ids: Sequence[str], *, snapshot: Snapshot) -> Visibility:
        """R10: the candidates' rows, on the primary, after the vector query."""
        ...

    async def shown(self, refs: Sequence[ChunkRef]) -> list[ShownChunk | None]:
        """Text and revision of hits; None for what was collected meanwhile."""
        ...

    async def chunks(self, key: DocumentKey, *, seq: int, pipe: Pipe) -> list[ChunkRow]:
        """The chunks of one version, in order."""
        ...

    async def counts(self, tenant: TenantId, uid: CollectionUid | None = None) -> dict[State, int]:
        """Documents by state, counted."""
        ...

    async def oldest_pending(self, tenant: TenantId, uid: CollectionUid | None = None) -> float | None:
        """accepted_at of the oldest change that is not yet searchable, failed ones left out."""
        ...

    async def batch_counts(self, tenant: TenantId, batch_id: str, uid: CollectionUid | None = None) -> dict[State, int]:
        """Documents of a batch by their state now; of one collection where it is given."""
        ...
