"""The metadata of a document: flat, small, typed, and the same on every vector store.

Metadata rides on the vectors so that stores filter before they search; what a store could not keep exactly is refused
here, with a pointer, before anything is stored. `check` is the only way in, so code behind it need not look again.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

MAX_KEYS: Final = 64
MAX_BYTES: Final = 16 * 1024
MAX_INTEGER: Final = 2**53

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
Metadata: TypeAlias = Mapping[str, Value]

_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class MetadataError(errors.Refusal):
    """The metadata breaks a rule. Correct the field at the pointer, which starts at the metadata object."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(Reason.INVALID_METADATA, detail, pointers=((pointer, detail),))
        self.pointer = pointer


def escape(part: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def is_key(name: str) -> bool:
    """Whether a metadata field, or a field of a filter, may have this name."""
    return _KEY.fullmatch(name) is not None


def check(value: object) -> dict[str, Value]:
    """The metadata as sent (lists as tuples) if it keeps every rule; MetadataError names the first that does not."""
    if not isinstance(value, Mapping):
        raise MetadataError("", "metadata is a JSON object")
    if len(value) > MAX_KEYS:
        raise MetadataError("", f"metadata has at most {MAX_KEYS} keys")
    checked = {_checked_key(key): _checked_value(item, f"/{escape(str(key))}") for key, item in value.items()}
    # No character takes more than six bytes of JSON: what is short is not written only to be measured.
    if len(repr(checked)) * 6 > MAX_BYTES and len(canonical_json(checked).encode()) > MAX_BYTES:
        raise MetadataError("", f"metadata is at most {MAX_BYTES} bytes of compact JSON")
    return checked


def merge(current: Metadata, change: object) -> dict[str, Value]:
    """Apply a PATCH: keys of `change` replace those of `current`, null removes. The result keeps every rule."""
    if not isinstance(change, Mapping):
        raise MetadataError("", "metadata is a JSON object")
    if len(change) > 2 * MAX_KEYS:
        raise MetadataError("", f"metadata has at most {MAX_KEYS} keys")
    merged: dict[str, object] = dict(current)
    for key, item in change.items():
        if item is None:
            merged.pop(_checked_key(key), None)
        else:
            merged[key] = item
    return check(merged)


def canonical_json(value: Metadata) -> str:
    """The one text of a metadata object: what is hashed, measured and stored."""
    return _CANONICAL.encode(value)


def from_json(text: str) -> dict[str, Value]:
    """Read back what `canonical_json` wrote of checked metadata."""
    stored: dict[str, Value | list[str]] = json.loads(text)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


def _checked_key(key: object) -> str:
    if isinstance(key, str) and is_key(key):
        return key
    raise MetadataError(f"/{escape(str(key))}", "a key is a letter, then up to 63 letters, digits, '_', '.' or '-'")


def _checked_value(value: object, pointer: str) -> Value:
    if isinstance(value, str):
        return _checked_text(value, pointer)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise MetadataError(pointer, "an integer is between -2^53 and 2^53")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise MetadataError(pointer, "a number is finite")
        return value
    if isinstance(value, list | tuple):
        return tuple(_checked_text(item, f"{pointer}/{index}") for index, item in enumerate(value))
    raise MetadataError(pointer, "a value is a string, a number, a boolean or a list of strings")


def _checked_text(value: object, pointer: str) -> str:
    if not isinstance(value, str):
        raise MetadataError(pointer, "a list holds strings only")
    if "\x00" in value:
        raise MetadataError(pointer, "a string holds no NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise MetadataError(pointer, "a string holds no lone surrogates")
    return value
