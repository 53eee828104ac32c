"""The vector store: a dumb heap of immutable versioned chunks. It never decides what is visible.

Guarantees: an upserted id keeps its vector until deleted; scores are cosine in [-1, 1], exact or approximate; results
may lag behind writes, by how much `position` tells where the store has positions (None: it has none, callers probe).
Throttled or away: TransientError(THROTTLED | VECTORS_UNAVAILABLE). Refused content: PermanentError(STORE_REFUSED).
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bloomweaver.domain import builds, identity
from bloomweaver.domain.documents import Metadata, Version
from bloomweaver.domain.filters import Filter

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Record:
    """One chunk's vector. `id` is `identity.vector_ids(...)[index]`; metadata is what filters see."""

    id: str
    document_id: str
    seq: int
    index: int
    vector: Vector
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Match:
    """A candidate, by descending score."""

    document_id: str
    seq: int
    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Matches:
    """A query's answer. position: up to where the store had seen writes; more: it may hold further candidates."""

    matches: tuple[Match, ...]
    position: int | None
    more: bool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do. max_k: how many candidates one query may ask for."""

    read_barrier: bool
    list_ids: bool
    filters: bool
    max_batch: int
    max_k: int = 10_000


def records_of(
    version: Version, build: builds.Build, *, metadata: Metadata, indexes: Iterable[int] | None = None
) -> tuple[Record, ...]:
    """The records of a version, or some of them, from its build."""
    key = version.key
    ids = identity.vector_ids(key.document_id, version.seq, version.pipe, version.n_chunks)
    return tuple(
        Record(ids[i], key.document_id, version.seq, i, np.frombuffer(build.row(i), dtype="<f4"), metadata)
        for i in (range(version.n_chunks) if indexes is None else indexes)
    )


class Vectors(Protocol):
    """Namespaces come into being with their first upsert."""

    capabilities: Capabilities

    async def upsert(self, namespace: str, records: Sequence[Record]) -> int | None:
        """Write at most `max_batch` records; gives the position that a reader has to have seen, None if unknown."""
        ...

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Remove; unknown ids and namespaces are ignored."""
        ...

    async def query(self, namespace: str, vector: Vector, *, k: int, where: Filter | None = None) -> Matches:
        """The k best. An unknown namespace is empty."""
        ...

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        """Which ids a query would find now: the probe of stores without positions, and of the audit."""
        ...

    def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        """All ids that begin with the prefix, page by page."""
        ...

    async def namespaces(self, prefix: str) -> list[str]:
        """Names that begin with the prefix."""
        ...

    async def drop(self, namespace: str) -> None:
        """Remove a namespace and all that it holds."""
        ...
