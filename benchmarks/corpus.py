"""Real text to measure with: manuals that Debian packages install, else this project's own documentation.

HTML is taken as it is; what a benchmark needs as plain prose it gets from `prose`.
"""

import functools
import itertools
import pathlib
import re
from collections.abc import Iterator

from bloomweaver.text import parsing

ROOT = pathlib.Path(__file__).parents[1]
MANUALS = {
    "the PostgreSQL manual (postgresql-doc)": ("/usr/share/doc", "postgresql-doc-*/html/*.html"),
    "the Debian handbook (debian-handbook)": ("/usr/share/doc", "debian-handbook/html/en-US/*.html"),
    "the Python manual (python3-doc)": ("/usr/share/doc", "python3.*/html/**/*.html"),
}
LISTS = ("genindex", "py-modindex", "search")
MOST_BYTES = 2_000_000
"""A page that is larger is a list of something."""
LEAST_BYTES = 2_000_000


@functools.cache
def pages() -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """(where from, (name, media type, text)…), in a fixed order."""
    for name in MANUALS:
        paths = files(name)
        if sum(path.stat().st_size for path in paths) >= LEAST_BYTES:
            return name, tuple((path.stem, "text/html", path.read_text(encoding="utf-8")) for path in paths)
    found = sorted((ROOT / "docs").rglob("*.md"))
    own = [(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in found]
    rounds = 1 + LEAST_BYTES // max(1, sum(len(text) for _, text in own))
    repeated = (
        (f"{name}~{turn}", "text/markdown", text.replace(". ", f" ({turn}). ", 1 + turn % 7))
        for turn, (name, text) in itertools.product(range(rounds), own)
    )
    return "this project's docs, repeated with edits", tuple(repeated)


def files(manual: str) -> list[pathlib.Path]:
    """The pages of a manual, none where it is not installed."""
    folder, pattern = MANUALS[manual]
    found = sorted({path.resolve() for path in pathlib.Path(folder).glob(pattern)})
    return [path for path in found if not path.stem.startswith(LISTS) and path.stat().st_size <= MOST_BYTES]


@functools.cache
def prose() -> tuple[str, ...]:
    """Paragraphs of 200 to 1,200 characters, each once, in the order of the manual."""
    found: dict[str, None] = {}
    for _, media_type, text in pages()[1]:
        for paragraph in re.split(r"\n\s*\n", parsing.parse(text, media_type).text):
            clean = " ".join(paragraph.split())
            if 200 <= len(clean) <= 1200:
                found[clean] = None
    return tuple(found)


def documents(size_bytes: int) -> Iterator[str]:
    """Texts of that size for ever, no two alike: the first line counts them."""
    paragraphs = itertools.cycle(prose())
    for number in itertools.count():
        parts = [f"Note {number}"]
        left = size_bytes - len(parts[0])
        while left > 0:
            part = next(paragraphs).encode()[:left].decode("utf-8", "ignore")
            parts.append(part)
            left -= len(part.encode()) + 2
        yield "\n\n".join(parts)
