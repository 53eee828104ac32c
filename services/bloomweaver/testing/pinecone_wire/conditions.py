"""Pinecone's metadata filters, at their strictest: where the guides leave a meaning open, fewer records pass."""

from collections.abc import Mapping
from typing import Any

_ORDER = {"$gt": "__gt__", "$gte": "__ge__", "$lt": "__lt__", "$lte": "__le__"}
_OPERATORS = {"$eq", "$ne", "$in", "$nin", "$exists", *_ORDER}


class ConditionError(Exception):
    """A filter that Pinecone refuses."""


def check(tree: Mapping[str, Any]) -> None:
    """Raises ConditionError for what is no filter."""
    for key, operand in tree.items():
        if key in ("$and", "$or"):
            if not isinstance(operand, list) or not operand or not all(isinstance(each, Mapping) for each in operand):
                raise ConditionError(f"{key} takes a list of filters")
            for each in operand:
                check(each)
        elif key.startswith("$"):
            raise ConditionError(f"{key} is no operator here")
        elif isinstance(operand, Mapping):
            _check_operators(operand)
        elif not isinstance(operand, str | int | float):
            raise ConditionError(f"{key} is compared with something that is no string, number or boolean")


def holds(tree: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a record with this metadata passes a filter that was checked."""
    for key, operand in tree.items():
        if key == "$and":
            passed = all(holds(each, metadata) for each in operand)
        elif key == "$or":
            passed = any(holds(each, metadata) for each in operand)
        else:
            asked = operand if isinstance(operand, Mapping) else {"$eq": operand}
            passed = all(_condition(operator, value, key, metadata) for operator, value in asked.items())
        if not passed:
            return False
    return True


def _check_operators(operand: Mapping[str, Any]) -> None:
    for operator, value in operand.items():
        if operator not in _OPERATORS:
            raise ConditionError(f"{operator} is no operator")
        if operator in ("$in", "$nin") and (not isinstance(value, list) or not 1 <= len(value) <= 10_000):
            raise ConditionError(f"{operator} takes 1 to 10,000 values")
        if operator in _ORDER and not _is_number(value):
            raise ConditionError(f"{operator} takes a number")
        if operator == "$exists" and not isinstance(value, bool):
            raise ConditionError("$exists takes true or false")


def _condition(operator: str, value: Any, key: str, metadata: Mapping[str, Any]) -> bool:
    if operator == "$exists":
        return (key in metadata) is value
    if key not in metadata:
        return False
    found = metadata[key]
    if operator in _ORDER:
        return _is_number(found) and bool(getattr(float(found), _ORDER[operator])(float(value)))
    wanted = value if isinstance(value, list) else [value]
    elements = found if isinstance(found, list) else [found]
    equal = any(_equal(element, each) for element in elements for each in wanted)
    return equal if operator in ("$eq", "$in") else not equal


def _equal(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
