"""The one door from a text of some media type to blocks.

Invariant: every code point of the result that is not white space lies in exactly one block. For plain text and
Markdown the text is the text as it was sent; for HTML it is what a person would read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bloomweaver.domain import blocks, chunking, errors, reasons
from bloomweaver.text import plain

# Part of what identifies a pipeline: raised when the same text would give other blocks.
REVISION = "1"
# Parser and splitter together: what a pipeline of this release is made by.
PIPELINE_REVISION = f"{REVISION}.{chunking.REVISION}"


def _markdown(text: str) -> blocks.Extracted:
    from bloomweaver.text import markdown  # with the first such text: a process that only searches needs no parser

    return markdown.extract(text)


def _hypertext(text: str) -> blocks.Extracted:
    from bloomweaver.text import hypertext  # likewise

    return hypertext.extract(text)


_PARSERS: Mapping[str, Callable[[str], blocks.Extracted]] = MappingProxyType(
    {"text/plain": plain.extract, "text/markdown": _markdown, "text/html": _hypertext}
)
MEDIA_TYPES = frozenset(_PARSERS)


def parse(text: str, media_type: str) -> blocks.Extracted:
    """The blocks of a text. Parameters of the media type (`; charset=utf-8`) are ignored: the text is decoded
    already."""
    essence = media_type.partition(";")[0].strip().lower()
    parser = _PARSERS.get(essence)
    if parser is None:
        known = ", ".join(sorted(MEDIA_TYPES))
        raise errors.PermanentError(reasons.Reason.UNSUPPORTED_MEDIA_TYPE, f"{essence or 'none'} is none of {known}")
    return parser(text)
