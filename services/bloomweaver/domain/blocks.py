"""What a parser hands to the splitter: readable text, and the blocks that it is made of.

Every parser keeps three promises, and the splitter relies on them: blocks are in order and do not overlap, every code
point that is not white space lies in exactly one block, and offsets count code points of `Extracted.text`. For plain
text and Markdown that text is the text as it was sent, so an offset of a hit is an offset in the client's own
document.
"""

from __future__ import annotations

import dataclasses
import enum


class Kind(enum.StrEnum):
    """What a block is, and therefore where it may be cut when it does not fit into one chunk."""

    HEADING = "heading"
    TEXT = "text"
    LIST = "list"
    TABLE = "table"
    CODE = "code"


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """One heading, paragraph, list, table or code block; `heading` is the path of titles above it, its own title
    included."""

    kind: Kind
    start: int
    end: int
    heading: tuple[str, ...] = ()
    page: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Extracted:
    """The readable text of a document and its blocks."""

    text: str
    blocks: tuple[Block, ...]
