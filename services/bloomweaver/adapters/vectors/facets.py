"""Metadata as terms, for stores whose own fields would not mean what ours do.

A value is one term: its key, its type, and the value; that a key is there is a term too. Numbers are written so that
terms order as they do. Invariant: two terms are equal exactly where `filters` calls key and value equal.
"""

import struct

from bloomweaver.domain import filters
from bloomweaver.domain.documents import Metadata

# No key holds this character, so that a term cannot be read as another key's.
_END = "\x1f"


def of(metadata: Metadata) -> list[str]:
    """All terms of a document."""
    terms = [presence(field) for field in metadata]
    for field, value in metadata.items():
        terms.extend(term(field, element) for element in (value if isinstance(value, tuple) else (value,)))
    return terms


def presence(field: str) -> str:
    """The term of every document that has the field."""
    return field + _END


def term(field: str, value: filters.Scalar) -> str:
    """The term of every document whose field equals the value or holds it."""
    if isinstance(value, bool):
        return f"{field}{_END}b{value}"
    if isinstance(value, str):
        return f"{field}{_END}s{value}"
    return f"{field}{_END}n{_sortable(float(value))}"


def numbers(field: str) -> tuple[str, str]:
    """Between these two, as text, lie the terms of the field's numbers, and nothing else."""
    return f"{field}{_END}n{'0' * 16}", f"{field}{_END}n{'f' * 16}"


def _sortable(number: float) -> str:
    """Sixteen digits that order as the numbers do: the bits, negative numbers turned around."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))  # + 0.0 makes -0.0 the same as 0.0
    bits = bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63
    return f"{bits:016x}"
