"""The history: why things are as they are. Written by the ledger in the transactions that it tells of; read here."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bloomweaver.domain.documents import DocumentKey, Row
from bloomweaver.domain.identity import CollectionUid, TenantId
from bloomweaver.domain.reasons import Reason


class StepName(StrEnum):
    """What can happen to a document."""

    ACCEPTED = "accepted"
    SUPERSEDED = "superseded"
    WAITING = "waiting"
    EXTRACTED = "extracted"
    EMBEDDED = "embedded"
    WRITTEN = "written"
    CONFIRMED = "confirmed"
    SHOWN = "shown"
    HIDDEN = "hidden"
    REMOVED = "removed"
    FAILED = "failed"
    RETRIED = "retried"
    SWEPT = "swept"


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One line of a document's timeline. detail never holds text of the document."""

    at: float
    step: StepName
    seq: int
    pipe: str = ""
    reason: Reason | None = None
    detail: str = ""
    actor: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A failed document."""

    collection: str
    row: Row


class History(Protocol):
    """Same guarantees as the ledger."""

    async def timeline(self, key: DocumentKey) -> list[TimelineStep]:
        """The last 50 steps of the last 30 days, oldest first."""
        ...

    async def note(self, key: DocumentKey, step: TimelineStep) -> None:
        """Add a step that no ledger method writes (extracted, written, swept)."""
        ...

    async def dead_letters(
        self,
        tenant: TenantId,
        *,
        reason: Reason | None = None,
        uid: CollectionUid | None = None,
        after: str = "",
        limit: int = 50,
    ) -> list[DeadLetter]:
        """Failed documents, ordered by collection name and document_id; `after`: `name/document_id` of the last one."""
        ...
