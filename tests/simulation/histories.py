"""What clients did and saw in one history: the oracle's only evidence. Times are virtual seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

TAKES_SEQ = frozenset({"created", "updated", "metadata_only", "deleted"})


class Kind(StrEnum):
    """What a client asked for."""

    PUT = "put"
    PATCH = "patch"
    DELETE = "delete"


class Fate(StrEnum):
    """Texts that do something to whoever embeds them."""

    POISON = "poison"
    NAN = "nan"
    KILLER = "killer"


@dataclass(frozen=True, slots=True)
class Place:
    """A document as clients name it, in one life of its collection."""

    tenant: str
    collection: str
    document: str


@dataclass(slots=True)
class Operation:
    """One event of one client, however often it was sent. ended: its first answer. seq, outcome: as answered or stored.

    version: the source version, None in an arrival-ordered collection or without one. tag: the metadata it sets.
    """

    number: int
    place: Place
    kind: Kind
    event_id: str
    started: float
    paragraphs: tuple[str, ...] = ()
    tag: str = ""
    large: bool = False
    version: int | None = None
    fate: Fate | None = None
    ended: float | None = None
    outcome: str | None = None
    seq: int = 0
    uid: str = ""
    refused: str | None = None
    last_sent: float = 0.0

    @property
    def words(self) -> frozenset[str]:
        """Every word of the text."""
        return frozenset(word for paragraph in self.paragraphs for word in paragraph.split())

    @property
    def takes_seq(self) -> bool:
        """Whether a revision stands under `seq` because of this operation."""
        return self.outcome in TAKES_SEQ

    def __str__(self) -> str:
        version = "" if self.version is None else f" v{self.version}"
        return f"#{self.number} {self.kind}{version} {self.place.tenant}/{self.place.collection}/{self.place.document}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One hit."""

    document: str
    seq: int
    index: int
    text: str
    tag: str


@dataclass(frozen=True, slots=True)
class Search:
    """One search. hits is None where it was refused, reason says why. tag: the filter it used, if any."""

    number: int
    tenant: str
    collections: tuple[str, ...]
    started: float
    ended: float
    hits: tuple[Seen, ...] | None
    reason: str = ""
    truncated: bool = False
    tag: str | None = None
    final: bool = False


@dataclass(slots=True)
class Removal:
    """A collection that was deleted; `uid` is the life that ended."""

    tenant: str
    collection: str
    uid: str
    started: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: which invariant, when, and what was seen."""

    invariant: str
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.1f} s: {self.what}"


@dataclass(slots=True)
class History:
    """Everything that the oracle may look at.

    forced: (tenant, collection, when) of promotions by force: they may hide what is not ready, as the operator is told.
    """

    operations: list[Operation] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    forced: list[tuple[str, str, float]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def violated(self, invariant: str, at: float, what: str) -> None:
        """Note a broken promise that was seen on the spot."""
        self.violations.append(Violation(invariant, at, what))

    def twin(self, op: Operation, *, uid: str, outcome: str, seq: int) -> Operation | None:
        """The same event in another life of its collection, where it was a new one; None if it is known already."""
        if any((other.event_id, other.place, other.uid) == (op.event_id, op.place, uid) for other in self.operations):
            return None
        made = replace(op, number=len(self.operations) + 1, uid=uid, outcome=outcome, seq=seq, ended=None, refused=None)
        self.operations.append(made)
        return made

    def operation(
        self, place: Place, kind: Kind, *, now: float, event_id: str | None = None, paragraphs: Sequence[str] = ()
    ) -> Operation:
        """A new operation, begun now."""
        number = len(self.operations) + 1
        made = Operation(number, place, kind, event_id or f"e{number}", now, tuple(paragraphs))
        self.operations.append(made)
        return made
