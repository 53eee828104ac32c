"""The splitter: blocks in, chunks out, each within the model's limit in the model's own tokens.

Invariants
- Nothing is lost: without overlap the chunks' spans are in order, disjoint, and cover all that is not white space. A
  document of which the model reads nothing (white space, control characters) has no chunks.
- No chunk has more than `max_tokens` tokens, and its `token_ids` are the ids of its own text: every block is
  tokenised once.
- Where a chunk begins depends on nearby text alone (`boundaries`), so an edit leaves the chunks away from it as they
  were, and their hashes say so.

Blocks stay whole where they fit; those that do not are cut by kind (`units`). A heading stays with what follows it,
and a section starts a new chunk unless it is tiny. Titles are not put in front of the text: they are kept per chunk,
as its heading path.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import zlib
from array import array
from collections.abc import Iterator, Sequence

from bloomweaver.domain import blocks, boundaries, units

REVISION = "1"

_HEADING_LEVELS = 6
_BLOCK, _LEAD_IN, _AFTER_HEADING = 10, 11, 30
# A boundary's hash is made of so many tokens after it, and none before: most edits of a paragraph leave both of its
# boundaries as strong as they were.
_CONTEXT_TOKENS = 8
# Below this part of the limit a chunk joins a neighbour of its section, and a section may join another.
_SMALL_PART, _TINY_PART = 4, 8
# Blocks go to the tokenizer in batches of about this size.
_BATCH_CODE_POINTS = 131_072


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """A span of the extracted text that is embedded as one passage; equal texts have equal hashes."""

    index: int
    kind: blocks.Kind
    start: int
    end: int
    heading: tuple[str, ...]
    page: int | None
    text: str
    token_ids: array[int]
    hash: str


def split(
    extracted: blocks.Extracted, encode: units.Encode, *, max_tokens: int, overlap_tokens: int = 0
) -> list[Chunk]:
    """The chunks of a document.

    `max_tokens` is the room for text: the model's limit less special tokens and prefix. With `overlap_tokens` a chunk
    repeats the end of the one before it in the same section. `encode` adds no special tokens and never truncates.
    """
    if not 0 <= overlap_tokens <= max_tokens // 2:
        raise ValueError(
            f"an overlap of {overlap_tokens} tokens is not between 0 and half of the limit of {max_tokens}"
        )
    room = max_tokens - overlap_tokens
    atoms = _Atoms(extracted, with_offsets=overlap_tokens > 0)
    for piece, tokens in _encoded(extracted, encode):
        atoms.add(piece, tokens, room, encode)
    rules = boundaries.Rules(
        limit=room,
        small=room // _SMALL_PART,
        tiny=room // _TINY_PART,
        forced=(units.FORCED + 1) << 32,
        heading=(_HEADING_LEVELS + 1) << 32,
    )
    firsts = boundaries.choose(atoms.keys(), atoms.totals, rules)
    chunks: list[Chunk] = []
    for number, (first, end) in enumerate(itertools.pairwise([*firsts, len(atoms.starts)])):
        overlap = atoms.overlap(firsts[number - 1], first, overlap_tokens) if number else None
        chunks.append(atoms.chunk(number, first, end, overlap))
    return chunks


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    block: int
    start: int
    end: int
    level: int


def _encoded(extracted: blocks.Extracted, encode: units.Encode) -> Iterator[tuple[_Piece, units.Tokens]]:
    """Every piece of every block with its tokens, in order, a bounded number of them at a time."""
    waiting: list[_Piece] = []
    size = 0
    for piece in _pieces(extracted):
        waiting.append(piece)
        size += piece.end - piece.start
        if size >= _BATCH_CODE_POINTS:
            yield from zip(waiting, encode([extracted.text[own.start : own.end] for own in waiting]), strict=True)
            waiting, size = [], 0
    yield from zip(waiting, encode([extracted.text[own.start : own.end] for own in waiting]), strict=True)


def _pieces(extracted: blocks.Extracted) -> Iterator[_Piece]:
    before: blocks.Block | None = None
    for number, block in enumerate(extracted.blocks):
        for start, end, seam in units.pieces(extracted.text, block):
            level = seam if start > block.start else _level(before, block, extracted.text)
            yield _Piece(number, start, end, level)
        before = block


def _level(before: blocks.Block | None, block: blocks.Block, text: str) -> int:
    """How strong the boundary before a block is."""
    if before is not None and before.kind is blocks.Kind.HEADING and len(before.heading) < max(len(block.heading), 1):
        return _AFTER_HEADING
    if block.kind is blocks.Kind.HEADING:
        return min(max(len(block.heading), 1), _HEADING_LEVELS)
    if before is None:
        return _BLOCK
    if before.kind is blocks.Kind.HEADING:
        return _AFTER_HEADING
    return _LEAD_IN if text[before.end - 1] in ":\uff1a" else _BLOCK


class _Atoms:
    """What must stay whole, in columns: a document of ten megabytes has millions of them at worst."""

    def __init__(self, extracted: blocks.Extracted, *, with_offsets: bool) -> None:
        self._extracted = extracted
        self._ids = array("I")
        # Where each token begins in the document; only overlaps need it.
        self._offsets: array[int] | None = array("q") if with_offsets else None
        self._first_tokens = array("q", [0])
        self._levels = array("B")
        self._blocks = array("q")
        self._lead = 0
        self.starts = array("q")
        self.ends = array("q")
        self.totals = array("q", [0])

    def add(self, piece: _Piece, tokens: units.Tokens, limit: int, encode: units.Encode) -> None:
        """One piece of a block: one atom where it fits beside the headings above it, else its units."""
        heavy = units.weight(len(tokens.ids), piece.end - piece.start)
        block = self._extracted.blocks[piece.block]
        lead = self._lead if piece.start == block.start and self._lead <= limit // 2 else 0
        if heavy <= limit - lead:
            self._append(piece, units.Unit(0, piece.end - piece.start, units.FORCED, tokens.ids, tokens.starts))
        else:
            text = self._extracted.text[piece.start : piece.end]
            for unit in units.cut(text, block.kind, tokens, limit=limit - lead, encode=encode):
                self._append(piece, unit)
        self._lead = self._lead + heavy if block.kind is blocks.Kind.HEADING else 0

    def _append(self, piece: _Piece, unit: units.Unit) -> None:
        start = piece.start + unit.start
        self._blocks.append(piece.block)
        self._levels.append(unit.level if unit.start else piece.level)
        self.starts.append(start)
        self.ends.append(piece.start + unit.end)
        self._ids.extend(unit.ids)
        if self._offsets is not None:
            self._offsets.extend(start + point for point in unit.starts)
        self._first_tokens.append(len(self._ids))
        self.totals.append(self.totals[-1] + units.weight(len(unit.ids), unit.end - unit.start))

    def keys(self) -> array[int]:
        """The strength of the boundary before each atom: its level, then a hash of the tokens after it."""
        ids, keys = self._ids, array("q")
        for level, token in zip(self._levels, self._first_tokens, strict=False):
            keys.append(level << 32 | zlib.crc32(ids[token : token + _CONTEXT_TOKENS].tobytes()))
        return keys

    def overlap(self, previous: int, first: int, most: int) -> int | None:
        """The token that the chunk of atom `first` begins with if it repeats the end of the chunk of atom
        `previous`."""
        if self._offsets is None or not self._seamless(first):
            return None
        end = self._first_tokens[first]
        low = max(end - most, self._first_tokens[previous])
        # Whole sentences or items if any fit, else words.
        atom = first
        while atom - 1 > previous and self._first_tokens[atom - 1] >= low and self._seamless(atom - 1):
            atom -= 1
        if atom < first:
            return self._first_tokens[atom]
        text = self._extracted.text
        inner = range(max(low, self._first_tokens[first - 1] + 1), end)
        return next((token for token in inner if units.apart(text, self._offsets[token])), None)

    def _seamless(self, atom: int) -> bool:
        """Whether the tokens on both sides of the boundary before an atom are those of the joined text, in one
        section."""
        return self._levels[atom] >= _BLOCK and units.apart(self._extracted.text, self.starts[atom])

    def chunk(self, index: int, first: int, end: int, overlap: int | None) -> Chunk:
        """The chunk of the atoms from `first` to before `end`, begun early by an overlap."""
        start, token = self.starts[first], self._first_tokens[first]
        if overlap is not None and self._offsets is not None:
            start, token = self._offsets[overlap], overlap
        text = self._extracted.text[start : self.ends[end - 1]].rstrip()
        own = self._extracted.blocks[self._blocks[first] : self._blocks[end - 1] + 1]
        return Chunk(
            index=index,
            kind=_kind(own),
            start=start,
            end=start + len(text),
            heading=_path(own),
            page=own[0].page,
            text=text,
            token_ids=self._ids[token : self._first_tokens[end]],
            hash=hashlib.sha256(text.encode()).hexdigest()[:32],
        )


def _kind(own: Sequence[blocks.Block]) -> blocks.Kind:
    kinds = {block.kind for block in own if block.kind is not blocks.Kind.HEADING}
    if len(kinds) > 1:
        return blocks.Kind.TEXT
    return kinds.pop() if kinds else blocks.Kind.HEADING


def _path(own: Sequence[blocks.Block]) -> tuple[str, ...]:
    """The titles that all of a chunk's blocks stand under, or those of the first where they share none."""
    shared = own[0].heading
    for block in own[1:]:
        while shared != block.heading[: len(shared)]:
            shared = shared[:-1]
    return shared or own[0].heading
