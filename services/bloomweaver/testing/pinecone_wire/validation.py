"""Whether a value is as the description says: the part of JSON Schema that the description uses, and no more."""

import re
from collections.abc import Mapping
from typing import Any

from bloomweaver.testing.pinecone_wire import description

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": Mapping,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def complaint(value: object, schema: Mapping[str, Any], *, at: str = "the body") -> str | None:
    """What is wrong with the value, or None."""
    if "$ref" in schema:
        return complaint(value, description.SCHEMAS[schema["$ref"].rpartition("/")[2]], at=at)
    if "anyOf" in schema:
        fitting = any(complaint(value, each, at=at) is None for each in schema["anyOf"])
        return None if fitting else f"{at} fits none of the allowed forms"
    kind = schema.get("type", "object")
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind in ("integer", "number")):
        return f"{at} is not of type {kind}"
    if isinstance(value, Mapping):
        return _of_object(value, schema, at=at)
    if isinstance(value, list):
        return _of_array(value, schema, at=at)
    if isinstance(value, str):
        return _of_string(value, schema, at=at)
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{at} is out of range"
    return None


def _of_object(value: Mapping[str, Any], schema: Mapping[str, Any], *, at: str) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at} lacks {name}"
    known = schema.get("properties", {})
    for name, item in value.items():
        rule = known.get(name, schema.get("additionalProperties"))
        found = complaint(item, rule, at=f"{at}/{name}") if rule else None
        if found:
            return found
    return None


def _of_array(value: list[Any], schema: Mapping[str, Any], *, at: str) -> str | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"{at} has {len(value)} items"
    return next((found for i, item in enumerate(value) if (found := complaint(item, schema["items"], at=f"{at}/{i}"))),
                None)  # fmt: skip


def _of_string(value: str, schema: Mapping[str, Any], *, at: str) -> str | None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return f"{at} is too long or too short"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{at} holds a character that is not allowed"
    return None
