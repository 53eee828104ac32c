"""Cutting a block that does not fit into one chunk: at the best places that its kind has, and never by losing a
character.

Places are tried from the strongest to the weakest (list items, table rows, lines of code or sentences first, then
lines, then words), each only inside parts that are still too heavy. A cut at white space keeps the tokens on both
sides as they are, so their ids are a slice of the block's. A cut elsewhere (Chinese and Japanese sentences, a word
longer than the limit) may change them: those parts are tokenised again, alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bloomweaver.domain import blocks

# A model reads at most so many code points for each token of its limit: what a tokenizer folds into one token (a
# megabyte of base64 is one unknown word) cannot make a chunk that is too large for the stores.
CODE_POINTS_PER_TOKEN = 32


class Tokens(Protocol):
    """A text's tokens without special tokens: `ids[i]` stands for the code points `starts[i]` to `ends[i]`."""

    @property
    def ids(self) -> array[int]: ...

    @property
    def starts(self) -> array[int]: ...

    @property
    def ends(self) -> array[int]: ...


Encode = Callable[[Sequence[str]], Sequence[Tokens]]

# Levels of the boundary before a unit; smaller is stronger. 1 to 6 are headings, 10 and 11 blocks (`chunking`). What
# was cut by force is never joined again: the tokens on both sides would not be those of the joined text.
FORCED, STRONG, GOOD, FAIR, LINE, CLAUSE, WORD = 0, 12, 13, 14, 15, 16, 17
# No text that goes to the tokenizer is longer than this: memory stays bounded.
PIECE_CODE_POINTS = 16_384

# White space at which every tokenizer ends a word. Some drop control characters and join what they stood between.
_GAP = r"[^\S\x0b\x0c\x1c-\x1f\x85]"
# Every pattern matches in linear time on any text: quantifiers are possessive where they could meet again.
_BLANK_LINE = re.compile(r"(?>\r\n?|\n)(?:[^\S\r\n]*+(?>\r\n?|\n))++")
_TOP_LINE = re.compile(r"(?>\r\n?|\n)(?=[^\s})\]])")
_ANY_LINE = re.compile(r"(?>\r\n?|\n)")
# The titles of a table, the line of dashes under them and the first row stay together.
_ROW = re.compile(r"(?<!-\|)(?<!:\|)(?<!--)(?>\r\n?|\n)(?![|: \t-]*+(?:\r|\n|\Z))")
_MARKER = r"(?=(?:[-*+\u2022]|\d{1,9}[.)])[ \t])"
_ITEM = re.compile(r"(?>\r\n?|\n)" + _MARKER)
_NESTED_ITEM = re.compile(r"(?>\r\n?|\n)[ \t]++" + _MARKER)
# Signs outside ASCII stand by their numbers: full width stops, commas and brackets look like their ASCII twins.
_CLOSING = r"[\"'\u201d\u2019\u00bb)\]*_]*+"
_WIDE_STOP = r"[\u3002\uff01\uff1f][\u201d\u2019\u300d\u300f\uff09]*+"
_SENTENCE_LINE = re.compile(rf"(?:[.!?\u2026]{_CLOSING}|{_WIDE_STOP})[^\S\r\n]*+(?>\r\n?|\n){_GAP}*+")
_SENTENCE = re.compile(rf"(?:[.!?\u2026]{_CLOSING}{_GAP}++(?![a-z])|{_WIDE_STOP}{_GAP}*+)")
_CLAUSE = re.compile(rf"(?:[,;:\u2013\u2014]{_GAP}++|[\uff0c\uff1b\uff1a\u3001]{_GAP}*+)")
_SPACE = re.compile(_GAP)
_WORD_GAP = re.compile(rf"{_GAP}++")

_PROSE = (
    (GOOD, _SENTENCE_LINE), (FAIR, _SENTENCE), (LINE, _ANY_LINE), (CLAUSE, _CLAUSE), (WORD, _WORD_GAP),
)  # fmt: skip
_PLACES: dict[blocks.Kind, tuple[tuple[int, re.Pattern[str]], ...]] = {
    blocks.Kind.HEADING: _PROSE,
    blocks.Kind.TEXT: ((STRONG, _BLANK_LINE), *_PROSE),
    blocks.Kind.LIST: ((STRONG, _ITEM), (GOOD, _NESTED_ITEM), *_PROSE[1:]),
    blocks.Kind.TABLE: ((STRONG, _ROW), *_PROSE[1:]),
    blocks.Kind.CODE: ((STRONG, _BLANK_LINE), (GOOD, _TOP_LINE), (LINE, _ANY_LINE), (WORD, _WORD_GAP)),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """Text from `start` to `end` that stays whole; `level` is the strength of the boundary before it (the first's is
    unknown).

    `starts` are the places of its tokens, counted from `start`.
    """

    start: int
    end: int
    level: int
    ids: array[int]
    starts: array[int]


def pieces(text: str, block: blocks.Block) -> Iterator[tuple[int, int, int]]:
    """(start, end, level) of the parts of a block that are tokenised one by one; one part, save for a giant.

    They are cut at the strongest kind of place in reach, where `cut` would cut as well: the seam leaves no trace. The
    level of the first part is the caller's to know.
    """
    start, level = block.start, FORCED
    while block.end - start > PIECE_CODE_POINTS:
        place, following = _seam(text, block.kind, start + PIECE_CODE_POINTS // 2, start + PIECE_CODE_POINTS)
        yield start, place, level
        start, level = place, following
    yield start, block.end, level


def _seam(text: str, kind: blocks.Kind, low: int, high: int) -> tuple[int, int]:
    for level, pattern in _PLACES[kind]:
        places = [match.end() for match in pattern.finditer(text, low, high) if match.end() < high]
        if places:
            return places[-1], level
    return high, FORCED


def apart(text: str, place: int) -> bool:
    """Whether a cut at `place` leaves the tokens on both sides as they are: it is beside white space, or at an end."""
    return place <= 0 or place >= len(text) or any(map(_SPACE.match, text[place - 1 : place + 1]))


def weight(count: int, code_points: int) -> int:
    """What a text of `count` tokens takes of a chunk's room; nothing where the model reads nothing."""
    return max(count, code_points // CODE_POINTS_PER_TOKEN) if count else 0


def cut(text: str, kind: blocks.Kind, tokens: Tokens, *, limit: int, encode: Encode) -> list[Unit]:
    """The units of a block that does not fit: together they are the whole of it."""
    spans = _spans(text, kind, tokens, limit)
    again = [span for span in spans if not (apart(text, span[0]) and apart(text, span[1]))]
    fresh = dict(zip(again, encode([text[first:end] for first, end, _ in again]), strict=True)) if again else {}
    found: list[Unit] = []
    for span in spans:
        first, end, level = span
        if span in fresh:
            unit = Unit(first, end, level, fresh[span].ids, fresh[span].starts)
        else:
            low, high = bisect_right(tokens.ends, first), bisect_right(tokens.ends, end)
            starts = array("I", (max(point - first, 0) for point in tokens.starts[low:high]))
            unit = Unit(first, end, level, tokens.ids[low:high], starts)
        found.extend(_forced(text, unit, limit, encode))
    return found


def _spans(text: str, kind: blocks.Kind, tokens: Tokens, limit: int) -> list[tuple[int, int, int]]:
    """(start, end, level) of the parts of a block, each cut only as far as it has to be."""
    spans = [(0, len(text), 0)]
    for level, pattern in _PLACES[kind]:
        finer: list[tuple[int, int, int]] = []
        for first, end, strength in spans:
            count = bisect_right(tokens.ends, end) - bisect_right(tokens.ends, first)
            if weight(count, end - first) <= limit:
                finer.append((first, end, strength))
            else:
                finer.extend(_parted(text, first, end, strength, level, pattern))
        spans = finer
    return spans


def _parted(
    text: str, first: int, end: int, strength: int, level: int, pattern: re.Pattern[str]
) -> list[tuple[int, int, int]]:
    parts: list[tuple[int, int, int]] = []
    for match in pattern.finditer(text, first, end):
        place = match.end()
        if first < place < end:
            parts.append((first, place, strength))
            first, strength = place, level
    parts.append((first, end, strength))
    return parts


def _forced(text: str, unit: Unit, limit: int, encode: Encode) -> Iterator[Unit]:
    """A unit over the limit (one endless word) cut between tokens, or code points where it has too few, until each
    part fits."""
    waiting = [unit]
    while waiting:
        part = waiting.pop()
        length = part.end - part.start
        heavy = weight(len(part.ids), length)
        if heavy <= limit or length < 2:
            yield part
            continue
        places = [
            part.start,
            *(part.start + place for place in _places(length, part.starts, -(-heavy // limit))),
            part.end,
        ]
        pairs = list(itertools.pairwise(places))
        fresh = encode([text[low:high] for low, high in pairs])
        parts = [
            Unit(low, high, part.level if low == part.start else FORCED, tokens.ids, tokens.starts)
            for (low, high), tokens in zip(pairs, fresh, strict=True)
        ]
        waiting.extend(reversed(parts))


def _places(length: int, starts: array[int], parts: int) -> list[int]:
    """Up to `parts` - 1 inner places, rising, at starts of tokens where there are enough of them; at least one."""
    inner = sorted({starts[len(starts) * number // parts] for number in range(1, parts)} - {0})
    if len(inner) < parts - 1:
        inner = sorted({length * number // parts for number in range(1, parts)} - {0})
    return inner or [length // 2]
