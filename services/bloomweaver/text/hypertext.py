"""HTML to blocks: what a person would read, in order, with headings, lists, tables and code kept apart.

It reads a stream of tags (`tags`) and builds no tree, so that the time is linear in the size on any input: a parser
that follows the standard to the letter needs minutes for a few hundred kilobytes of nested lists. Lists become lines
with markers, table rows lines of cells (`a | b`). A table that holds headings, code or tables is there for layout:
its cells are read one after another.
"""

from __future__ import annotations

import dataclasses
import re

from bloomweaver.domain import blocks
from bloomweaver.text import headings, tags

_SPACE = re.compile(r"[ \t\n\r\f\xa0]+")
_LINE_BREAK = "\x00"
_DEEPEST_INDENT = 10


def extract(text: str) -> blocks.Extracted:
    """The readable text of an HTML document, or of a piece of one."""
    reader = _Reader()
    for part in tags.readable(text):
        if isinstance(part, str):
            reader.inline.append(part)
        elif part.closing:
            reader.close(part.name)
        else:
            reader.open(part)
    return reader.finish()


class _Writer:
    """The text and blocks so far; blocks are set apart by an empty line."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[blocks.Block] = []
        self._path = headings.Path()

    def add(self, kind: blocks.Kind, text: str, *, level: int = 0) -> None:
        if not text:
            return
        heading = self._path.enter(level, text) if level else self._path.titles
        if self._parts:
            self._parts.append("\n\n")
            self._length += 2
        self._parts.append(text)
        self._blocks.append(blocks.Block(kind, self._length, self._length + len(text), heading))
        self._length += len(text)

    def extracted(self) -> blocks.Extracted:
        return blocks.Extracted("".join(self._parts), tuple(self._blocks))


@dataclasses.dataclass(slots=True)
class _List:
    ordered: bool
    number: int

    def marker(self) -> str:
        self.number += 1
        return f"{self.number - 1}. " if self.ordered else "- "


class _Reader:
    """Collects text into paragraphs, and these into items, cells or blocks of their own."""

    def __init__(self) -> None:
        self.inline: list[str] = []
        self._writer = _Writer()
        self._heading = 0
        self._preformatted = False
        self._lists: list[_List] = []
        self._marker = ""
        self._items: list[str] = []
        # For each open table whether it holds data; only the innermost can.
        self._tables: list[bool] = []
        self._rows: list[str] = []
        self._cells: list[list[str]] = []

    def open(self, tag: tags.Tag) -> None:
        name = tag.name
        if name == "br":
            self.inline.append("\n" if self._preformatted else _LINE_BREAK)
            return
        self._at_border(name)
        if name in tags.HEADINGS:
            self._leave_table()
            self._heading = int(name[1])
        elif name in tags.PREFORMATTED:
            self._leave_table()
            self._preformatted = True
        elif name in tags.LISTS:
            start = tag.attributes().get("start", "") if name == "ol" else ""
            self._lists.append(_List(name == "ol", int(start) if re.fullmatch("[0-9]{1,9}", start) else 1))
        elif name == "li":
            self._marker = self._lists[-1].marker() if self._lists else "- "
        elif name == "table":
            self._leave_table()
            self._end_list()
            self._tables.append(True)
        elif name in tags.CELLS and self._in_data():
            self._cells.append([])

    def close(self, name: str) -> None:
        self._at_border(name)
        if name in tags.HEADINGS:
            self._heading = 0
        elif name in tags.PREFORMATTED:
            self._preformatted = False
        elif name in tags.LISTS and self._lists:
            self._lists.pop()
            if not self._lists and not self._in_data():
                self._end_list()
        elif name == "table" and self._tables:
            self._leave_table()
            self._tables.pop()

    def finish(self) -> blocks.Extracted:
        self._end_paragraph()
        self._leave_table()
        self._end_list()
        return self._writer.extracted()

    def _at_border(self, name: str) -> None:
        """What is set apart from the text before it ends that text."""
        borders = (tags.BREAKING, tags.HEADINGS, tags.PREFORMATTED, tags.LISTS, tags.ROWS, tags.CELLS)
        if name in ("li", "table") or any(name in names for names in borders):
            self._end_paragraph()
            if name in tags.ROWS:
                self._end_row()

    def _end_paragraph(self) -> None:
        source = "".join(self.inline)
        self.inline.clear()
        if self._preformatted and not self._in_data():
            self._end_list()
            self._writer.add(blocks.Kind.CODE, _unframed(source))
            return
        lines = [_SPACE.sub(" ", line).strip() for line in source.split(_LINE_BREAK)]
        own = [line for line in lines if line and not line.isspace()]
        if not own:
            return
        if self._in_data():
            (self._cells[-1] if self._cells else self._rows).append(" ".join(own))
        elif self._heading:
            self._end_list()
            self._writer.add(blocks.Kind.HEADING, " ".join(own), level=self._heading)
        elif self._lists or self._marker:
            self._add_item(own)
        else:
            self._end_list()
            self._writer.add(blocks.Kind.TEXT, "\n".join(own))

    def _add_item(self, lines: list[str]) -> None:
        indent = "  " * min(max(len(self._lists) - 1, 0), _DEEPEST_INDENT)
        for line in lines:
            self._items.append(indent + (self._marker or "  ") + line)
            self._marker = ""

    def _end_list(self) -> None:
        self._writer.add(blocks.Kind.LIST, "\n".join(self._items))
        self._items.clear()
        if not self._lists:
            self._marker = ""

    def _in_data(self) -> bool:
        return bool(self._tables) and self._tables[-1]

    def _end_row(self) -> None:
        cells = [" ".join(cell) for cell in self._cells]
        self._cells.clear()
        if any(cells):
            self._rows.append(" | ".join(cells))

    def _leave_table(self) -> None:
        """Writes the rows of the table so far; what follows in it is no data any more."""
        if self._in_data():
            self._end_row()
            self._writer.add(blocks.Kind.TABLE, "\n".join(self._rows).strip())
            self._rows.clear()
            self._tables[-1] = False


def _unframed(source: str) -> str:
    """Code without the empty lines around it; the indentation of its first line stays."""
    own = source.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    blank = len(own) - len(own.lstrip())
    return own[own.rfind("\n", 0, blank) + 1 :]
