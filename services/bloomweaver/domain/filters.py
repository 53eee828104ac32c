"""Metadata filters: what a search may ask, and what a key or a source may be confined to.

A filter arrives as JSON, becomes a frozen tree once, and is evaluated here or converted by an adapter for its store.
The meaning is the one of `matches`, on every store. Invariants:

- On a field that a document lacks a condition is false, save `$ne`, `$nin`, `$exists: false`; `$not` turns it around.
- Types never coerce: true is not 1, "1" is not 1. Integers and floats are one type, number.
- On a list, `$eq` and `$in` mean any element; `$ne` and `$nin` are their exact opposites. Order is for numbers alone.
- A tree that exists is within the limits, whether it was parsed, stored on a key, or combined by `and_`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeGuard

from bloomweaver.domain import errors, metadata
from bloomweaver.domain.reasons import Reason

MAX_DEPTH: Final = 8
MAX_CLAUSES: Final = 100
MAX_VALUES: Final = 1000

Scalar: TypeAlias = str | int | float | bool
Operator: TypeAlias = Literal["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"]

_OPERATORS: Final[Mapping[str, Operator]] = {
    name: name for name in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists")
}
_ORDERING: Final = frozenset({"$gt", "$gte", "$lt", "$lte"})
_LISTS: Final = frozenset({"$in", "$nin"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One field, one operator. `values` has one element but for `$in` and `$nin`."""

    field: str
    operator: Operator
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every clause holds; without clauses it matches everything."""

    clauses: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one clause holds."""

    clauses: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The clause does not hold."""

    clause: "Filter"


Filter: TypeAlias = Condition | All | AnyOf | Not

EVERYTHING: Final = All(())


class FilterError(errors.Refusal):
    """The filter is not one. Correct it at the pointer named, which starts at the filter itself."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(Reason.INVALID_FILTER, detail, pointers=((pointer, detail),))
        self.pointer = pointer


def parse(value: object) -> Filter:
    """Read a filter from JSON values. `{}` matches everything; anything unclear raises FilterError."""
    if isinstance(value, Mapping) and not value:
        return EVERYTHING
    tree = _parse_object(value, pointer="", levels=MAX_DEPTH)
    if _count(tree) > MAX_CLAUSES:
        raise FilterError("", f"a filter has at most {MAX_CLAUSES} conditions")
    return tree


def from_json(text: str) -> Filter:
    """Read back what `to_json` wrote. Spelling operators out adds levels: the limit on depth is not for this text."""
    value: object = json.loads(text)
    return _parse_object(value, pointer="", levels=3 * MAX_DEPTH) if value else EVERYTHING


def and_(first: Filter | None, second: Filter | None) -> Filter | None:
    """Both must hold; None is no filter at all. It adds a key's mandatory filter, so the limits do not apply again."""
    if first is None or first == EVERYTHING:
        return second
    if second is None or second == EVERYTHING:
        return first
    return All((first, second))


def to_json(tree: Filter) -> str:
    """The one canonical text of a filter: what is stored beside a key and compared."""
    return json.dumps(to_object(tree), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def to_object(tree: Filter) -> dict[str, object]:
    """The filter as JSON values, with every operator spelt out. `parse` reads it back into an equal tree."""
    if isinstance(tree, Condition):
        operand = list(tree.values) if tree.operator in _LISTS else tree.values[0]
        return {tree.field: {tree.operator: operand}}
    if isinstance(tree, Not):
        return {"$not": to_object(tree.clause)}
    if tree == EVERYTHING:
        return {}
    return {"$and" if isinstance(tree, All) else "$or": [to_object(clause) for clause in tree.clauses]}


def matches(tree: Filter | None, fields: Mapping[str, metadata.Value]) -> bool:
    """Whether a document with this metadata passes. This function is the meaning that every store must reproduce."""
    if tree is None:
        return True
    if isinstance(tree, Condition):
        return _holds(tree, fields)
    if isinstance(tree, Not):
        return not matches(tree.clause, fields)
    if isinstance(tree, All):
        return all(matches(clause, fields) for clause in tree.clauses)
    return any(matches(clause, fields) for clause in tree.clauses)


def _holds(condition: Condition, fields: Mapping[str, metadata.Value]) -> bool:
    present = condition.field in fields
    operator = condition.operator
    if operator == "$exists":
        return present is condition.values[0]
    if operator in ("$ne", "$nin"):
        return not (present and _any_equal(fields[condition.field], condition.values))
    if not present:
        return False
    if operator in ("$eq", "$in"):
        return _any_equal(fields[condition.field], condition.values)
    return _ordered(operator, fields[condition.field], bound=condition.values[0])


def _any_equal(found: metadata.Value, values: tuple[Scalar, ...]) -> bool:
    elements: Sequence[Scalar] = found if isinstance(found, tuple) else (found,)
    return any(_equal(element, value) for element in elements for value in values)


def _equal(left: Scalar, right: Scalar) -> bool:
    # bool is a subclass of int in Python and equal to 0 and 1; in a filter it is a type of its own.
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _ordered(operator: Operator, found: metadata.Value, *, bound: Scalar) -> bool:
    if not _is_number(found) or not _is_number(bound):
        return False
    if operator == "$gt":
        return found > bound
    if operator == "$gte":
        return found >= bound
    if operator == "$lt":
        return found < bound
    return found <= bound


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parse_object(value: object, *, pointer: str, levels: int) -> Filter:
    if levels <= 0:
        raise FilterError(pointer, f"a filter is at most {MAX_DEPTH} levels deep")
    if not isinstance(value, Mapping):
        raise FilterError(pointer, "a filter is a JSON object")
    if not value:
        raise FilterError(pointer, "an empty object inside a filter; leave it out")
    clauses: list[Filter] = []
    for key, operand in value.items():
        here = f"{pointer}/{metadata.escape(str(key))}"
        if key in ("$and", "$or"):
            clauses.append(_parse_list(key, operand, pointer=here, levels=levels))
        elif key == "$not":
            clauses.append(Not(_parse_object(operand, pointer=here, levels=levels - 1)))
        elif isinstance(key, str) and metadata.is_key(key):
            clauses.extend(_parse_field(key, operand, pointer=here))
        else:
            raise FilterError(here, "neither a metadata field nor one of $and, $or, $not")
    return clauses[0] if len(clauses) == 1 else All(tuple(clauses))


def _parse_list(key: str, operand: object, *, pointer: str, levels: int) -> Filter:
    if not isinstance(operand, list | tuple) or not operand:
        raise FilterError(pointer, f"{key} takes an array of at least one filter")
    if len(operand) > MAX_CLAUSES:
        raise FilterError(pointer, f"a filter has at most {MAX_CLAUSES} conditions")
    parts = tuple(
        _parse_object(part, pointer=f"{pointer}/{index}", levels=levels - 1) for index, part in enumerate(operand)
    )
    if len(parts) == 1:
        return parts[0]
    return All(parts) if key == "$and" else AnyOf(parts)


def _parse_field(field: str, operand: object, *, pointer: str) -> list[Filter]:
    if not isinstance(operand, Mapping):
        return [Condition(field, "$eq", (_scalar(operand, pointer),))]
    if not operand:
        raise FilterError(pointer, "an empty object inside a filter; leave it out")
    return [_parse_condition(field, key, operand=value, pointer=pointer) for key, value in operand.items()]


def _parse_condition(field: str, key: object, *, operand: object, pointer: str) -> Condition:
    pointer = f"{pointer}/{metadata.escape(str(key))}"
    operator = _OPERATORS.get(key) if isinstance(key, str) else None
    if operator is None:
        raise FilterError(pointer, f"unknown operator; there are {', '.join(_OPERATORS)}")
    if operator in _LISTS:
        if not isinstance(operand, list | tuple):
            raise FilterError(pointer, f"{operator} takes an array of strings, numbers or booleans")
        if len(operand) > MAX_VALUES:
            raise FilterError(pointer, f"{operator} takes at most {MAX_VALUES} values")
        return Condition(field, operator, tuple(_scalar(value, f"{pointer}/{i}") for i, value in enumerate(operand)))
    if operator == "$exists" and not isinstance(operand, bool):
        raise FilterError(pointer, "$exists takes true or false")
    if operator in _ORDERING and not _is_number(operand):
        raise FilterError(pointer, f"{operator} takes a number; order is for numbers only")
    return Condition(field, operator, (_scalar(operand, pointer),))


def _scalar(value: object, pointer: str) -> Scalar:
    if isinstance(value, str):
        if "\x00" in value:
            raise FilterError(pointer, "a string without NUL characters is required")
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= metadata.MAX_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise FilterError(pointer, "a string, a number or a boolean is required")


def _count(tree: Filter) -> int:
    if isinstance(tree, Condition):
        return 1
    if isinstance(tree, Not):
        return _count(tree.clause)
    return sum(_count(clause) for clause in tree.clauses)
