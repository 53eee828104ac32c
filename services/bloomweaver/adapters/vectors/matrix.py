"""One namespace's vectors in memory, for an exact scan.

Invariants: rows are only appended and never move, so a scan on another thread sees whole vectors while new ones arrive,
without a lock and without a copy; a row that went is None in `names` from then on, and a scan passes over it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bloomweaver.adapters.vectors import records
from bloomweaver.domain.documents import Metadata
from bloomweaver.ports import vectors

BLOCK_BYTES = 8 * 1024 * 1024
FIRST_CANDIDATES = 64


class Stored(NamedTuple):
    """A row as it is stored. row: its number, never used again."""

    row: int
    document_id: str
    seq: int
    idx: int
    metadata_json: str
    embedding: bytes


class Matrix:
    """namespace: the row id of the namespace it was read from. seen: up to which position."""

    def __init__(self, namespace: int, *, dimension: int, seen: int) -> None:
        self.namespace = namespace
        self.dimension = dimension
        self.seen = seen
        self.names: list[records.Name | None] = []
        self._places: dict[int, int] = {}
        self._metadata: dict[str, Metadata] = {}
        self._block_rows = max(1, BLOCK_BYTES // (4 * dimension))
        self._blocks: list[vectors.Vector] = []

    @property
    def size_bytes(self) -> int:
        """What the vectors take."""
        return 4 * self.dimension * len(self.names)

    @property
    def is_sparse(self) -> bool:
        """Whether more than half of it is gone, and reading it anew is worth it."""
        return len(self.names) > max(self._block_rows, 2 * len(self._places))

    def append(self, stored: Sequence[Stored]) -> None:
        """Add rows; one that is there already is replaced."""
        self.remove(row.row for row in stored)
        first, done = len(self.names), 0
        fresh = np.frombuffer(b"".join(row.embedding for row in stored), "<f4").reshape(len(stored), self.dimension)
        while done < len(stored):
            block, at = divmod(first + done, self._block_rows)
            if block == len(self._blocks):
                self._blocks.append(np.empty((self._block_rows, self.dimension), np.float32))
            part = fresh[done : done + self._block_rows - at]
            self._blocks[block][at : at + len(part)] = part
            done += len(part)
        for place, row in enumerate(stored, first):
            self._places[row.row] = place
            self.names.append(records.Name(row.document_id, row.seq, row.idx, self._metadata_of(row.metadata_json)))

    def remove(self, rows: Iterable[int]) -> None:
        """Forget rows; unknown ones are ignored."""
        for row in rows:
            place = self._places.pop(row, None)
            if place is not None:
                self.names[place] = None

    def _metadata_of(self, text: str) -> Metadata:
        """One object for equal texts: the chunks of a document share it."""
        found = self._metadata.get(text)
        if found is None:
            fields = json.loads(text)
            found = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
            self._metadata[text] = found
        return found

    def scores(self, vector: vectors.Vector) -> vectors.Vector:
        """The dot product with every row that is there at the call, the gone ones too."""
        count = len(self.names)
        scores = np.empty(count, np.float32)
        for number, first in enumerate(range(0, count, self._block_rows)):
            end = min(first + self._block_rows, count)
            np.dot(self._blocks[number][: end - first], vector, out=scores[first:end])
        return scores


def ranked(scores: vectors.Vector, *, wanted: int) -> Iterator[tuple[int, float]]:
    """(place, score) by descending score, sorted in growing pieces, since few are looked at. Uses up `scores`."""
    size, left = max(FIRST_CANDIDATES, 2 * wanted), len(scores)
    while left:
        size = min(size, left)
        places = np.argpartition(scores, -size)[-size:]
        places = places[np.argsort(-scores[places], kind="stable")]
        yield from zip(places.tolist(), scores[places].tolist(), strict=True)
        scores[places] = -np.inf
        left -= size
        size *= 8
