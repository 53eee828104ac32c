"""What an API server does with a resource before it stores it: defaults, types, rules in CEL.

`complaints(schema, body)` is empty for a resource that would be let through.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

import cel

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
}


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """The value with the defaults of its schema, at every level."""
    if isinstance(value, dict):
        filled = dict(value)
        for name, part in schema.get("properties", {}).items():
            if name not in filled and "default" in part:
                filled[name] = copy.deepcopy(part["default"])
            if name in filled:
                filled[name] = defaulted(part, filled[name])
        return filled
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), each) for each in value]
    return value


def complaints(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """`path: what is wrong` for a value that has its defaults."""
    found = list(_wrong(schema, value))
    if not found and isinstance(value, dict):
        known = schema.get("properties")
        for name, part in value.items():
            if known is not None and name not in known:
                found.append(f": unknown field {name}")
            elif known is not None:
                found += complaints(known[name], part, f".{name}")
    if not found and isinstance(value, list):
        found = [one for each in value for one in complaints(schema["items"], each, "[]")]
    if not found:
        found = [
            f": {rule['message']}" for rule in schema.get("x-kubernetes-validations", ()) if not _holds(rule, value)
        ]
    return [path + one for one in found]


def _holds(rule: dict[str, str], value: Any) -> bool:
    return bool(cel.evaluate(rule["rule"], {"self": value}))


def _wrong(schema: dict[str, Any], value: Any) -> Iterator[str]:
    kind: str = schema.get("type", "object")
    if not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f": is no {kind}"
    else:
        yield from _beyond(schema, kind, value)


def _beyond(schema: dict[str, Any], kind: str, value: Any) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f": is none of {', '.join(schema['enum'])}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield ": has another form"
    if kind == "string" and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield ": has another length"
    if kind == "array" and len(value) > schema.get("maxItems", len(value)):
        yield ": has too many items"
    if kind == "integer" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield ": is out of range"
    for name in schema.get("required", ()):
        if name not in value:
            yield f": {name} is required"
