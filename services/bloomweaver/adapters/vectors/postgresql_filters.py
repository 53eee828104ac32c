"""Filters as conditions on a `jsonb` column, with the meaning of `filters.matches`.

Invariants: field names and values are only ever parameters; no condition is NULL, so that NOT turns it around; numbers
compare as `numeric`, which holds the shortest decimal form of any double and keeps their order.
"""

import json

from bloomweaver.domain import filters

_COLUMN = "metadata"
_OPERATORS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def condition(tree: filters.Filter | None) -> tuple[str, dict[str, object]]:
    """The condition and its parameters, whose names begin with `where`."""
    values: dict[str, object] = {}
    return ("TRUE" if tree is None else _sql(tree, values)), values


def _sql(tree: filters.Filter, values: dict[str, object]) -> str:
    if isinstance(tree, filters.Condition):
        return _condition(tree, values)
    if isinstance(tree, filters.Not):
        return f"(NOT {_sql(tree.clause, values)})"
    parts = [_sql(clause, values) for clause in tree.clauses]
    if isinstance(tree, filters.All):
        return f"({' AND '.join(parts)})" if parts else "TRUE"
    return f"({' OR '.join(parts)})" if parts else "FALSE"


def _condition(tree: filters.Condition, values: dict[str, object]) -> str:
    field = _bound(values, tree.field) + "::text"
    if tree.operator == "$exists":
        return f"({_COLUMN} ? {field})" if tree.values[0] else f"(NOT {_COLUMN} ? {field})"
    found = f"({_COLUMN} -> {field})"
    if tree.operator in _OPERATORS:
        bound = _bound(values, json.dumps(tree.values[0]))
        compared = f"({found} #>> '{{}}')::numeric {_OPERATORS[tree.operator]} ({bound}::jsonb #>> '{{}}')::numeric"
        # CASE, because AND does not say which side is looked at first, and text is no number.
        return f"(CASE WHEN jsonb_typeof({found}) = 'number' THEN {compared} ELSE FALSE END)"
    wanted = [json.dumps(value, ensure_ascii=False) for value in tree.values if _storable(value)]
    # A list contains each of its elements, and a scalar itself.
    any_equal = f"coalesce({found} @> ANY ({_bound(values, wanted)}::jsonb[]), FALSE)"
    return f"(NOT {any_equal})" if tree.operator in ("$ne", "$nin") else any_equal


def _storable(value: filters.Scalar) -> bool:
    """Metadata hold no lone surrogate, so one in a filter equals nothing; the server would refuse it."""
    return not isinstance(value, str) or not any("\ud800" <= character <= "\udfff" for character in value)


def _bound(values: dict[str, object], value: object) -> str:
    name = f"where{len(values)}"
    values[name] = value
    return f"%({name})s"
