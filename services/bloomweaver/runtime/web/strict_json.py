"""Bytes to JSON values, stricter than the standard library: what two parsers could read differently is refused.

The same bytes are read by clients, proxies and several of our components; a duplicate key or a lone surrogate that one
of them takes and another does not is how filters and tenants get confused. Refused with `malformed_json`: broken UTF-8,
a byte order mark, duplicate keys, NaN and Infinity, numbers that overflow, more than 32 levels, lone surrogates, bad
syntax. Integers beyond 2^53 are JSON, yet not every reader keeps them: `invalid_request`, save under the key
`source_version`, whose range is checked where it is used. The fast path is the C decoder with hooks; the walks run only
when a cheap look at the bytes says that they might find something.
"""

import functools
import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from bloomweaver.domain import errors, metadata
from bloomweaver.domain.reasons import Reason

MAX_DEPTH: Final = 32
MAX_INTEGER: Final = 2**53
MAX_VALUES: Final = 1_000_000
WIDE_KEYS: Final = frozenset({"source_version"})

_SHORT_KEY: Final = re.compile(r"[A-Za-z0-9_.$-]{1,64}")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_DIGITS_OF_MAX_INTEGER: Final = 16
_DIGITS_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of NDJSON. `index` counts the lines that are not blank; exactly one of `value` and `error` is meant."""

    index: int
    value: object
    error: errors.Refusal | None = None


class _WideIntegerError(ValueError):
    """An integer beyond 2^53 was met: the slow path finds out where."""


def loads(body: bytes) -> object:
    """The value of a strict JSON text. Raises errors.Refusal with the reason that the contract names."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not UTF-8: bad byte at offset {error.start}.") from None
    if text.startswith("\ufeff"):
        raise _malformed("The body starts with a byte order mark; send plain UTF-8.")
    _check_size(body)
    try:
        value = _decode(text, _decoder(_narrow_integer))
    except _WideIntegerError:
        value = _decode(text, _decoder(_any_integer))
        _refuse_wide_integers(value)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise _malformed(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
    # Only an escape can make a lone surrogate: the decoder above refuses encoded ones.
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def lines(body: bytes, *, max_items: int) -> list[Line]:
    """The items of NDJSON. A bad line is that line's error; too many lines refuse the whole before any is read."""
    parts = [part for part in body.split(b"\n") if part.strip(b" \t\r")]
    if len(parts) > max_items:
        raise errors.Refusal(Reason.TOO_MANY_ITEMS, f"One call takes at most {max_items} items.")
    return [_line(index, part) for index, part in enumerate(parts)]


def _line(index: int, part: bytes) -> Line:
    try:
        return Line(index, loads(part))
    except errors.Refusal as error:
        return Line(index, None, error)


@functools.cache
def _decoder(parse_integer: Callable[[str], int]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_float=_float, parse_int=parse_integer, parse_constant=_refuse_constant
    )


def _decode(text: str, decoder: json.JSONDecoder) -> object:
    try:
        value: object = decoder.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"The body is not JSON: {error.msg.lower()} ({where}).") from None
    except RecursionError:
        raise _malformed(f"The JSON is nested more than {MAX_DEPTH} levels deep.") from None
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = sorted(key for key, _ in pairs)
        twice = next(key for key, following in itertools.pairwise(keys) if key == following)
        name = f"'{twice}'" if _SHORT_KEY.fullmatch(twice) else "a key"
        raise _malformed(f"An object has {name} twice.")
    return made


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _malformed("A number is too large.")
    return value


def _narrow_integer(text: str) -> int:
    if len(text) < _DIGITS_OF_MAX_INTEGER or -MAX_INTEGER <= _any_integer(text) <= MAX_INTEGER:
        return int(text)
    raise _WideIntegerError


def _any_integer(text: str) -> int:
    # Every integer of more digits is out of every range that we accept, so its size is all that has to be kept.
    return int(text) if len(text) <= _DIGITS_KEPT else int(text[:_DIGITS_KEPT])


def _refuse_constant(text: str) -> NoReturn:
    raise _malformed(f"{text} is not JSON.")


def _check_size(body: bytes) -> None:
    separators = body.count(b",") + body.count(b"[") + body.count(b"{")
    if separators <= MAX_VALUES:
        return
    # Long texts hold commas and brackets too: only what stands outside of strings makes values.
    bare = _STRING.sub(b"", body)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > MAX_VALUES:
        raise errors.Refusal(Reason.TOO_LARGE, f"One body holds at most {MAX_VALUES} values.")


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    # A plain loop that looks before it calls: long texts hold brackets, so this runs for many good bodies.
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list) and (levels == 1 or _is_deeper(item, levels - 1)):
            return True
    return False


def _refuse_lone_surrogates(value: object) -> None:
    for text, _ in _strings_and_integers(value):
        if isinstance(text, str):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise _malformed("A string holds a lone surrogate.") from None


def _refuse_wide_integers(value: object) -> None:
    detail = "an integer is between -2^53 and 2^53; send larger ones as strings"
    pointers = tuple(
        (pointer, detail)
        for number, pointer in _strings_and_integers(value)
        if isinstance(number, int) and abs(number) > MAX_INTEGER and pointer.rpartition("/")[2] not in WIDE_KEYS
    )
    if pointers:
        raise errors.Refusal(Reason.INVALID_REQUEST, "An integer is too large.", pointers=pointers[:20])


def _strings_and_integers(value: object) -> list[tuple[str | int, str]]:
    """Every string (keys included) and integer with the pointer to it; iterative, so depth cannot hurt."""
    found: list[tuple[str | int, str]] = []
    waiting: list[tuple[object, str]] = [(value, "")]
    while waiting:
        item, pointer = waiting.pop()
        if isinstance(item, dict):
            found.extend((key, pointer) for key in item)
            waiting.extend((part, f"{pointer}/{metadata.escape(key)}") for key, part in item.items())
        elif isinstance(item, list):
            waiting.extend((part, f"{pointer}/{index}") for index, part in enumerate(item))
        elif isinstance(item, str | int) and not isinstance(item, bool):
            found.append((item, pointer))
    return found


def _malformed(detail: str) -> errors.Refusal:
    return errors.Refusal(Reason.MALFORMED_JSON, detail)
