"""Markdown to blocks: the text stays as it was sent, only its structure is read (CommonMark, tables, front matter).

Only the block structure is parsed; a chunk shows emphasis and links as they were written. What belongs to no element
of the grammar (link definitions) becomes a text block of its own, so that nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import markdown_it
from markdown_it import token as tokens

from bloomweaver.domain import blocks
from bloomweaver.text import headings

_LINE_END = re.compile(r"\r\n?|\n")
_FRONT_MATTER = re.compile(
    r"\ufeff?---[^\S\r\n]*+(?>\r\n?|\n)(?s:.*?)(?>\r\n?|\n)(?:---|\.\.\.)[^\S\r\n]*+(?=\r|\n|\Z)"
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_KINDS = {
    "heading_open": blocks.Kind.HEADING,
    "bullet_list_open": blocks.Kind.LIST,
    "ordered_list_open": blocks.Kind.LIST,
    "table_open": blocks.Kind.TABLE,
    "fence": blocks.Kind.CODE,
    "code_block": blocks.Kind.CODE,
}


def extract(text: str) -> blocks.Extracted:
    """One block per element of the outermost level."""
    path = headings.Path()
    found: list[blocks.Block] = []
    done = 0
    front = _FRONT_MATTER.match(text)
    if front is not None:
        found.append(blocks.Block(blocks.Kind.CODE, front.start(), front.end()))
        done = front.end()
    body = text[done:]
    lines = [done, *(done + match.end() for match in _LINE_END.finditer(body)), len(text)]
    for kind, first, end, title in _elements(body):
        start, stop = lines[first], lines[min(end, len(lines) - 1)]
        _fill(found, text, done, start, path.titles)
        heading = path.enter(*title) if title else path.titles
        _add(found, text, kind, start, stop, heading)
        done = stop
    _fill(found, text, done, len(text), path.titles)
    return blocks.Extracted(text, tuple(found))


def _elements(body: str) -> Iterator[tuple[blocks.Kind, int, int, tuple[int, str] | None]]:
    """(kind, first line, line after the last, (level, title) of a heading) of the elements of the outermost level."""
    parser = markdown_it.MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parsed = parser.parse(body)
    for place, token in enumerate(parsed):
        if token.level == 0 and token.nesting >= 0 and token.map is not None:
            title = (int(token.tag[1]), _title(parsed[place + 1])) if token.type == "heading_open" else None
            yield _KINDS.get(token.type, blocks.Kind.TEXT), token.map[0], token.map[1], title


def _title(inline: tokens.Token) -> str:
    return _LINK.sub(r"\1", inline.content[:1000])


def _fill(found: list[blocks.Block], text: str, start: int, end: int, heading: tuple[str, ...]) -> None:
    if text[start:end].strip():
        _add(found, text, blocks.Kind.TEXT, start, end, heading)


def _add(
    found: list[blocks.Block], text: str, kind: blocks.Kind, start: int, end: int, heading: tuple[str, ...]
) -> None:
    """A block without the blank lines around it; the indentation of its first line stays."""
    own = text[start:end].rstrip()
    if own:
        blank = len(own) - len(own.lstrip())
        first_line = max(own.rfind("\n", 0, blank), own.rfind("\r", 0, blank)) + 1
        found.append(blocks.Block(kind, start + first_line, start + len(own), heading))
