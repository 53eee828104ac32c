"""A file becomes a document: its text, its media type, its title; or the reason why it cannot be one."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bloomweaver.domain import identity
from bloomweaver.domain.reasons import Reason

MAX_TEXT_BYTES: Final = 10 * 1024 * 1024
TITLE_LINES: Final = 60
MAX_TITLE_CHARACTERS: Final = 300

MARKDOWN: Final = "text/markdown"
HTML: Final = "text/html"
PLAIN: Final = "text/plain"

_BY_SUFFIX: Final = {
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdown": MARKDOWN, ".mdx": MARKDOWN,
    ".html": HTML, ".htm": HTML, ".xhtml": HTML,
}  # fmt: skip
_HTML_START: Final = re.compile(r"\s*(?:<!doctype html|<html[\s>])", re.IGNORECASE)
_HTML_TITLE: Final = re.compile(r"<title[^>]*>([^<]{1,300})</title>", re.IGNORECASE)
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")


class Unsuitable(Exception):
    """This file is no document. Skipped and counted, with the reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Text:
    """What is sent of a file."""

    text: str
    media_type: str
    title: str | None

    @property
    def content_hash(self) -> str:
        """As the server computes it."""
        return identity.content_hash(self.media_type, self.text.encode())


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells cheaply whether a file changed."""

    modified_ns: int
    size_bytes: int


def stamp_of(path: Path) -> Stamp | None:
    """None for what is no regular file, or is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size) if path.is_file() else None


def read(path: Path) -> Text:
    """Read a file, or say why it is no document."""
    try:
        if not path.is_file():
            raise Unsuitable(Reason.UNSUPPORTED_MEDIA_TYPE, "not a regular file")
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise Unsuitable(Reason.TOO_LARGE, f"over {MAX_TEXT_BYTES // 1024 // 1024} MB")
        data = path.read_bytes()
    except OSError as error:
        raise Unsuitable(Reason.UNPARSABLE, f"cannot be read: {error.strerror}") from error
    return text_of(data, path.suffix)


def text_of(data: bytes, suffix: str, media_type: str | None = None) -> Text:
    """The text of a file's bytes. media_type: instead of what the suffix and the content say."""
    if len(data) > MAX_TEXT_BYTES:
        raise Unsuitable(Reason.TOO_LARGE, f"over {MAX_TEXT_BYTES // 1024 // 1024} MB")
    if data.startswith(b"%PDF-"):
        raise Unsuitable(Reason.UNSUPPORTED_MEDIA_TYPE, "binary: PDF")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unsuitable(Reason.UNSUPPORTED_MEDIA_TYPE, f"binary: not UTF-8 at byte {error.start}") from error
    if "\0" in text:
        raise Unsuitable(Reason.UNSUPPORTED_MEDIA_TYPE, "binary: it has NUL bytes")
    if not text.strip():
        raise Unsuitable(Reason.EMPTY_TEXT, "empty, or only white space")
    kind = media_type or _BY_SUFFIX.get(suffix.lower()) or (HTML if _HTML_START.match(text[:1000]) else PLAIN)
    return Text(text, kind, title_of(text, kind))


def title_of(text: str, media_type: str) -> str | None:
    """The first heading of Markdown, the title of HTML."""
    if media_type == HTML:
        found = _HTML_TITLE.search(text[:20_000])
        return _clean(found.group(1)) if found else None
    if media_type != MARKDOWN:
        return None
    fenced = False
    for line in text[:20_000].splitlines()[:TITLE_LINES]:
        if _FENCE.match(line):
            fenced = not fenced
        elif line.startswith("# ") and not fenced:
            return _clean(line.lstrip("#").strip().rstrip("#"))
    return None


def _clean(title: str) -> str | None:
    printable = "".join(sign if sign.isprintable() else " " for sign in title)
    return " ".join(printable.split())[:MAX_TITLE_CHARACTERS] or None


def short_digest(text: str) -> str:
    """A few signs that stand for a longer name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
