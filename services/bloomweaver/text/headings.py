"""The path of titles that a block stands under."""

from __future__ import annotations

import re

# A title is kept with every chunk of its section, so a page-long one is shortened.
_MOST_CODE_POINTS = 200
_SPACE = re.compile(r"\s+")


class Path:
    """The titles above the current place, outermost first; levels may be skipped."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self.titles: tuple[str, ...] = ()

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """A heading of `level` (1 is the highest) closes those of its level and below; gives the new path."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        own = _SPACE.sub(" ", title[: 4 * _MOST_CODE_POINTS]).strip()
        self._open.append((level, own if len(own) <= _MOST_CODE_POINTS else own[: _MOST_CODE_POINTS - 1] + "…"))
        self.titles = tuple(title for _, title in self._open)
        return self.titles
