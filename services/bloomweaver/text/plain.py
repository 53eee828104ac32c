"""Plain text to blocks: paragraphs are what blank lines separate. The text stays as it was sent."""

from __future__ import annotations

import re

from bloomweaver.domain import blocks

_BLANK_LINES = re.compile(r"(?>\r\n?|\n)(?:[^\S\r\n]*+(?>\r\n?|\n))++")


def extract(text: str) -> blocks.Extracted:
    """One text block per paragraph."""
    found: list[blocks.Block] = []
    start = 0
    for gap in _BLANK_LINES.finditer(text):
        _add(found, text, start, gap.start())
        start = gap.end()
    _add(found, text, start, len(text))
    return blocks.Extracted(text, tuple(found))


def _add(found: list[blocks.Block], text: str, start: int, end: int) -> None:
    paragraph = text[start:end]
    own = paragraph.strip()
    if own:
        start += len(paragraph) - len(paragraph.lstrip())
        found.append(blocks.Block(blocks.Kind.TEXT, start, start + len(own)))
