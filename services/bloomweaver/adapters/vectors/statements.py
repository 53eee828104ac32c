"""What the vector tables are asked, each function inside one transaction of its caller.

Invariants: every write takes the next position and leaves it on the namespace; a row's number is never used again; a
row that goes leaves its number in `vector_removed` for as long as a reader may still follow from before.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bloomweaver.adapters.vectors import matrix as matrices
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors

POSITIONS_KEPT = 10_000
FOLLOWED_ROWS = 10_000
PAGE_ROWS = 1000
DROPPED_ROWS = 2000

_INSERT = (
    "INSERT INTO vector (namespace, changed, seq, idx, id, document_id, metadata, embedding) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, id) DO UPDATE SET changed = excluded.changed, "
    "seq = excluded.seq, idx = excluded.idx, document_id = excluded.document_id, metadata = excluded.metadata, "
    "embedding = excluded.embedding"
)
# In the order of changes rows lie nearly as they lie in the file.
_ROWS = (
    "SELECT row, document_id, seq, idx, metadata, embedding FROM vector INDEXED BY vector_changed "
    "WHERE namespace = ? AND changed > ?"
)

Row = tuple[int, int, str, str, str, bytes]


class State(NamedTuple):
    """How far the store is. namespace: its row, None where there is none; changed: the position of its newest write."""

    position: int
    namespace: int | None
    changed: int


class Changes(NamedTuple):
    """What a matrix has to take over to have seen `position`."""

    namespace: int
    position: int
    rows: list[matrices.Stored]
    removed: list[int]


def row_of(record: vectors.Record) -> Row:
    """The record as `upsert` takes it."""
    metadata = json.dumps(dict(record.metadata), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    embedding = np.ascontiguousarray(record.vector, "<f4").tobytes()
    return record.seq, record.index, record.id, record.document_id, metadata, embedding


def state(connection: sqlite3.Connection, namespace: str) -> State:
    """How far the store and the namespace are."""
    position = _position(connection)
    row = connection.execute("SELECT id, changed FROM vector_namespace WHERE name = ?", (namespace,)).fetchone()
    return State(position, *(row or (None, 0)))


def upsert(connection: sqlite3.Connection, namespace: str, *, dimension: int | None, rows: Sequence[Row]) -> int:
    """Write rows, making the namespace if it is not there; gives the position."""
    position = _next_position(connection)
    if dimension is None:
        return position
    known = connection.execute("SELECT id, dimension FROM vector_namespace WHERE name = ?", (namespace,)).fetchone()
    if known is not None and known[1] != dimension:
        detail = f"the vectors have {dimension} dimensions, the namespace has {known[1]}"
        raise errors.PermanentError(Reason.STORE_REFUSED, detail)
    number = known[0] if known is not None else _new_namespace(connection, namespace, dimension)
    connection.execute("UPDATE vector_namespace SET changed = ? WHERE id = ?", (position, number))
    connection.executemany(_INSERT, [(number, position, *row) for row in rows])
    return position


def delete(connection: sqlite3.Connection, *, namespace: str, ids_json: str) -> None:
    """Remove the rows of these ids."""
    number = _number(connection, namespace)
    found = connection.execute(
        "SELECT row FROM vector WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))", (number, ids_json)
    ).fetchall()
    _remove(connection, number, [row[0] for row in found])


def drop_some(connection: sqlite3.Connection, namespace: str) -> bool:
    """Remove some rows of the namespace, or, where none are left, the namespace; whether there is more to do.

    In pieces, because one big transaction would hold up every other writer; the namespace goes last, so that a drop
    that was interrupted is seen and done again.
    """
    number = _number(connection, namespace)
    if number is None:
        return False
    found = connection.execute("SELECT row FROM vector WHERE namespace = ? LIMIT ?", (number, DROPPED_ROWS)).fetchall()
    if found:
        _remove(connection, number, [row[0] for row in found])
        return True
    connection.execute("DELETE FROM vector_removed WHERE namespace = ?", (number,))
    connection.execute("DELETE FROM vector_namespace WHERE id = ?", (number,))
    return False


def present(connection: sqlite3.Connection, namespace: str, ids_json: str) -> set[str]:
    """Which of the ids are there."""
    found = connection.execute(
        "SELECT id FROM vector WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))",
        (_number(connection, namespace), ids_json),
    )
    return {row[0] for row in found}


def ids(connection: sqlite3.Connection, *, namespace: str, prefix: str, after: str) -> list[str]:
    """The next page of ids, in their order."""
    found = connection.execute(
        "SELECT id FROM vector WHERE namespace = ? AND id > ? AND id >= ? AND id < ? || char(1114111) "
        "ORDER BY id LIMIT ?",
        (_number(connection, namespace), after, prefix, prefix, PAGE_ROWS),
    )
    return [row[0] for row in found]


def namespaces(connection: sqlite3.Connection, prefix: str) -> list[str]:
    """Names that begin with the prefix."""
    found = connection.execute(
        "SELECT name FROM vector_namespace WHERE name >= ? AND name < ? || char(1114111) ORDER BY name",
        (prefix, prefix),
    )
    return [row[0] for row in found]


def load(connection: sqlite3.Connection, namespace: str) -> matrices.Matrix | None:
    """The whole namespace."""
    position = _position(connection)
    known = connection.execute("SELECT id, dimension FROM vector_namespace WHERE name = ?", (namespace,)).fetchone()
    if known is None:
        return None
    matrix = matrices.Matrix(known[0], dimension=known[1], seen=position)
    rows = connection.execute(_ROWS, (known[0], -1))
    while page := rows.fetchmany(PAGE_ROWS):
        matrix.append([matrices.Stored(*row) for row in page])
    return matrix


def changes(connection: sqlite3.Connection, namespace: str, *, since: int) -> Changes | None:
    """What changed after a position; None where that is too long ago, too much, or the namespace is gone."""
    position, number = _position(connection), _number(connection, namespace)
    if number is None or position - since > POSITIONS_KEPT:
        return None
    rows = connection.execute(f"{_ROWS} LIMIT ?", (number, since, FOLLOWED_ROWS + 1)).fetchall()
    if len(rows) > FOLLOWED_ROWS:
        return None
    removed = connection.execute(
        "SELECT row FROM vector_removed WHERE namespace = ? AND changed > ?", (number, since)
    ).fetchall()
    return Changes(number, position, [matrices.Stored(*row) for row in rows], [row[0] for row in removed])


def _remove(connection: sqlite3.Connection, number: int | None, rows: Sequence[int]) -> None:
    if number is None or not rows:
        return
    position = _next_position(connection)
    connection.execute("UPDATE vector_namespace SET changed = ? WHERE id = ?", (position, number))
    connection.executemany("INSERT INTO vector_removed VALUES (?, ?, ?)", [(number, position, row) for row in rows])
    connection.executemany("DELETE FROM vector WHERE row = ?", [(row,) for row in rows])
    connection.execute(
        "DELETE FROM vector_removed WHERE namespace = ? AND changed <= ?", (number, position - POSITIONS_KEPT)
    )


def _number(connection: sqlite3.Connection, namespace: str) -> int | None:
    row = connection.execute("SELECT id FROM vector_namespace WHERE name = ?", (namespace,)).fetchone()
    return None if row is None else int(row[0])


def _new_namespace(connection: sqlite3.Connection, namespace: str, dimension: int) -> int:
    insert = "INSERT INTO vector_namespace (name, dimension, changed) VALUES (?, ?, 0) RETURNING id"
    return int(connection.execute(insert, (namespace, dimension)).fetchall()[0][0])


def _position(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT position FROM vector_position").fetchone()[0])


def _next_position(connection: sqlite3.Connection) -> int:
    # fetchall: a statement that was not run to its end would hold up the commit.
    return int(
        connection.execute("UPDATE vector_position SET position = position + 1 RETURNING position").fetchall()[0][0]
    )
