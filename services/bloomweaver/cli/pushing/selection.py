"""Which files of a folder are meant: hidden ones never by default, then `--exclude`, then `--include`.

Patterns are those of .gitignore in small: without a slash a pattern means a name anywhere, with one the path from the
root; `*` stays within a segment, `**` does not; a folder that is excluded is not entered.
"""

import fnmatch
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NEVER = frozenset({"node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Selection:
    """include: empty means everything. hidden: whether names that begin with a dot are meant too."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False

    def enters(self, relative: str) -> bool:
        """Whether a folder is looked into."""
        return self._is_visible(relative) and not any(matches(pattern, relative) for pattern in self.exclude)

    def wants(self, relative: str) -> bool:
        """Whether a file is meant, its folders included."""
        parts = relative.split("/")
        folders = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if not all(self.enters(folder) for folder in folders):
            return False
        if not self._is_visible(relative) or any(matches(pattern, relative) for pattern in self.exclude):
            return False
        return not self.include or any(matches(pattern, relative) for pattern in self.include)

    def _is_visible(self, relative: str) -> bool:
        name = relative.rpartition("/")[2]
        return name not in NEVER and (self.hidden or not name.startswith("."))


def matches(pattern: str, relative: str) -> bool:
    """Whether a pattern means a path, or a folder above it."""
    return _compiled(pattern).fullmatch(relative) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    anchored = "/" in pattern.rstrip("/")
    parts = [_segment(part) for part in pattern.strip("/").split("/")]
    body = "/".join(parts).replace("\0/", "(?:[^/]+/)*").replace("/\0", "(?:/[^/]+)*").replace("\0", ".*")
    return re.compile(f"{'' if anchored else '(?:.*/)?'}{body}(?:/.*)?", re.DOTALL)


def _segment(part: str) -> str:
    if part == "**":
        return "\0"
    expression = fnmatch.translate(part)
    return expression.removeprefix("(?s:").removesuffix(r")\Z").replace(".*", "[^/]*")


def walk(root: Path, selection: Selection) -> Iterator[str]:
    """The paths of the files that are meant, relative to the root, in order. Links to folders are not followed."""
    for folder, folders, files in os.walk(root):
        base = Path(folder).relative_to(root).as_posix()
        prefix = "" if base == "." else f"{base}/"
        folders[:] = sorted(name for name in folders if selection.enters(prefix + name))
        for name in sorted(files):
            if selection.wants(prefix + name):
                yield prefix + name
