"""What the reconciler asks of the ledger: what is stuck, what is garbage, what may be forgotten (R12, R13, R15, R16).

The same guarantees as `ports.ledger`, of which this is the other half. Everything here only finds or forgets; a
document's desired state is never changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bloomweaver.domain.documents import Backlog, DocumentKey, Version
from bloomweaver.domain.events import Step
from bloomweaver.domain.identity import BuildId, CollectionUid, Pipe, TenantId

RETIRED_SECONDS = 86_400.0  # so long a deleted collection is known: a worker that stood still may write for it late


@dataclass(frozen=True, slots=True)
class Stuck:
    """A document that waits, and where it has to go."""

    tenant: TenantId
    key: DocumentKey
    seq: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Garbage:
    """Rows that nothing needs any more. blobs: to delete first; `forget` then drops the rows.

    Exactly one of: a revision (seq), a build (its chunk rows), a document's last traces (purge).
    """

    key: DocumentKey
    blobs: tuple[str, ...] = ()
    revision: int | None = None
    build: tuple[Pipe, BuildId] | None = None
    purge: bool = False


@dataclass(frozen=True, slots=True)
class Owned:
    """What the ledger knows of a version that a store's id names. due: its vectors may be removed."""

    version: Version | None
    due: bool


@dataclass(frozen=True, slots=True)
class Retired:
    """A collection that was deleted and whose remains are still to be removed."""

    uid: CollectionUid
    tenant: TenantId
    pipes: tuple[Pipe, ...]


class Healing(Protocol):
    """See the module's docstring."""

    async def now(self) -> float:
        """The ledger's clock, by which everything here is due."""
        ...

    async def stuck(self, *, limit: int, empty_lanes: frozenset[str] = frozenset()) -> list[Stuck]:
        """R12: rows that are not where they should be and are due for a hint: by `steps.hint_delay` since `hinted_at`,
        `next_try` reached, or at once (5 s) where their lane's queue is empty. Marks them as hinted.

        Lane names: `create`, `update`, `delete`, and `change:{space}`. Deletes and laggards of a building pipeline too.
        """
        ...

    async def backlog(self) -> list[Backlog]:
        """What waits, by lane as in `stuck`, vectors due to go as `delete`; stops counting where it decides nothing."""
        ...

    async def removals(self, *, limit: int) -> list[Stuck]:
        """R9: documents with dead versions whose vectors are due to go, each given once a minute."""
        ...

    async def bury(self, *, limit: int) -> int:
        """What can never be shown becomes dead: `steps.is_abandoned`, and pipelines that are no longer current."""
        ...

    async def garbage(self, *, limit: int) -> list[Garbage]:
        """R16: revisions, builds and tombstones that nothing names any more."""
        ...

    async def forget(self, garbage: Sequence[Garbage]) -> None:
        """Drop the rows, if they are still garbage."""
        ...

    async def owners(self, uid: CollectionUid, names: Sequence[tuple[str, int, str]]) -> list[Owned]:
        """R13: what the ledger knows of (doc16, seq, pipe8), now."""
        ...

    async def owned_blobs(self, uid: CollectionUid, blobs: Sequence[str]) -> set[str]:
        """Which of these blobs a revision or a version that is not gone names."""
        ...

    async def swept(self, uid: CollectionUid, *, began_at: float) -> None:
        """A whole sweep of the collection that began then has finished."""
        ...

    async def versions(self, uid: CollectionUid, *, after: str, limit: int) -> list[Version]:
        """All versions of documents with document_id > after, whole documents only, for sweep and audit."""
        ...

    async def retired(self) -> list[Retired]:
        """Collections that were deleted: until nothing is left of them, and RETIRED_SECONDS at least."""
        ...

    async def erase(self, uid: CollectionUid, *, limit: int) -> bool:
        """Drop up to `limit` documents of a deleted collection; True when only its name is left, which goes in time."""
        ...

    async def trim(self, *, limit: int) -> int:
        """Drop what is over its time: events after 7 days, steps after 30 days or beyond the last 50 of a document."""
        ...
