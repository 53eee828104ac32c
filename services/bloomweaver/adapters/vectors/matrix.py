"""One namespace's vectors in memory, for an exact scan.

Invariants: rows are only appended and never move, so a scan on another thread sees whole vectors while new ones arrive,
without a lock and without a copy; a row that went is None in `names` from then on, and a scan passes over it.
"""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bloomweaver.adapters.vectors import records
from bloomweaver.domain import filters
from bloomweaver.domain.documents import Metadata
from bloomweaver.domain.filters import Filter
from bloomweaver.ports import vectors

BLOCK_BYTES = 8 * 1024 * 1024
FIRST_CANDIDATES = 64
LAZY_CANDIDATES = 1000
FILTERS_KEPT = 16


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

    def __init__(self, namespace: int, *, dimension: int, seen: int, block_bytes: int = BLOCK_BYTES) -> None:
        self.namespace = namespace
        self.dimension = dimension
        self.seen = seen
        self.names: list[records.Name | None] = []
        self._places: dict[int, int] = {}
        self._codes = array("I")
        self._code_of: dict[str, int] = {}
        self._metadata: list[Metadata] = []
        self._verdicts: dict[str, NDArray[np.bool_]] = {}
        self._block_rows = max(1, block_bytes // (4 * dimension))
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
            code = self._code(row.metadata_json)
            self._codes.append(code)
            self.names.append(records.Name(row.document_id, row.seq, row.idx, self._metadata[code]))

    def remove(self, rows: Iterable[int]) -> None:
        """Forget rows; unknown ones are ignored."""
        for row in rows:
            place = self._places.pop(row, None)
            if place is not None:
                self.names[place] = None

    def passing(self, where: Filter, count: int) -> NDArray[np.bool_]:
        """Which of the first `count` places pass the filter.

        Costs a look at each different metadata, once: the filters used last (a key's own comes with every query) are
        remembered by their text, because 1 and true are equal as values.
        """
        codes, known = np.array(self._codes[:count]), len(self._metadata)
        text = filters.to_json(where)
        verdicts = self._verdicts.pop(text, np.empty(0, np.bool_))
        if len(verdicts) < known:
            fresh = [filters.matches(where, fields) for fields in self._metadata[len(verdicts) : known]]
            verdicts = np.concatenate([verdicts, np.array(fresh, np.bool_)])
        self._verdicts[text] = verdicts
        if len(self._verdicts) > FILTERS_KEPT:
            self._verdicts.pop(next(iter(self._verdicts)), None)
        found: NDArray[np.bool_] = verdicts[codes]
        return found

    def scores(self, vector: vectors.Vector) -> vectors.Vector:
        """The dot product with every row that is there at the call, the gone ones too."""
        count = len(self.names)
        scores = np.empty(count, np.float32)
        for number, first in enumerate(range(0, count, self._block_rows)):
            end = min(first + self._block_rows, count)
            # Not np.dot: BLAS would share so big a product out to threads that spin for each other on a busy machine.
            np.vecdot(self._blocks[number][: end - first], vector, out=scores[first:end])
        return scores

    def _code(self, text: str) -> int:
        """The place in `_metadata`: one object for equal texts, since the chunks of a document share theirs."""
        code = self._code_of.get(text)
        if code is None:
            code = self._code_of[text] = len(self._metadata)
            fields = json.loads(text)
            self._metadata.append({k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
        return code


def ranked(
    scores: vectors.Vector, *, wanted: int, narrow: Callable[[], NDArray[np.bool_]] | None = None
) -> Iterator[tuple[int, float]]:
    """(place, score) by descending score, sorted in growing pieces, since few are looked at. Uses up `scores`.

    narrow: tells which places can matter at all; asked for once many were looked at and the filter let too few pass.
    """
    size, looked, left = max(FIRST_CANDIDATES, 2 * wanted), 0, len(scores)
    while left:
        if narrow is not None and looked >= LAZY_CANDIDATES:
            scores[~narrow()] = -np.inf
            narrow, left = None, int(np.count_nonzero(scores > -np.inf))
            continue
        size = min(size, left)
        places = np.argpartition(scores, -size)[-size:]
        places = places[np.argsort(-scores[places], kind="stable")]
        yield from zip(places.tolist(), scores[places].tolist(), strict=True)
        scores[places] = -np.inf
        looked, left, size = looked + size, left - size, size * 8
