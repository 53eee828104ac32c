"""Columns of values as PostgreSQL's array literals, so that a batch is one statement per table.

The driver would adapt every element by itself, which for the accept path takes several times as long as these joins.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Values = Sequence[Any]
Literal = Callable[[Values], str]


def numbers(values: Iterable[float | None]) -> str:
    """Integers and floats."""
    return "{" + ",".join(map(repr, values)).replace("None", "NULL") + "}"


def flags(values: Iterable[bool]) -> str:
    """Booleans."""
    return "{" + ",".join(map(repr, values)) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Strings. Every one is quoted, so that none reads as NULL or as structure."""
    given: Sequence[Any] = values if isinstance(values, tuple | list) else list(values)
    missing = given.count(None)
    if not given or missing == len(given):
        return "{" + ",".join(["NULL"] * missing) + "}"
    if not missing:
        joined = '","'.join(given)
        if "\\" not in joined and joined.count('"') == 2 * (len(given) - 1):
            return f'{{"{joined}"}}'
    return "{" + ",".join("NULL" if value is None else _quoted(value) for value in given) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


LITERALS: Mapping[str, Literal] = {
    "bigint": numbers,
    "integer": numbers,
    "float8": numbers,
    "boolean": flags,
    "text": texts,
}


class Columns:
    """The names and types of a batch's columns. `unnest` is what stands in FROM, `values` what is bound to it."""

    def __init__(self, **types: str) -> None:
        self.names = ", ".join(f'"{name}"' for name in types)
        self.unnest = f"unnest({', '.join(f'%s::{kind}[]' for kind in types.values())})"
        self._literals = [LITERALS[kind] for kind in types.values()]

    def values(self, records: Sequence[Sequence[Any]]) -> list[str]:
        """One literal per column, from rows."""
        columns = zip(*records, strict=True) if records else [()] * len(self._literals)
        return [literal(column) for literal, column in zip(self._literals, columns, strict=True)]
