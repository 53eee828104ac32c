"""HTML as a stream of readable text and tags, in time linear in its size whatever it holds.

Tokens are recognised as the HTML standard says (comments, quoted attributes, elements whose content is not markup); a
tree is not built. What nobody reads (scripts, styles, templates, drawings, what is marked as hidden) is skipped here.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator

# Elements that end a paragraph that is still open.
HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
LISTS = frozenset(("ul", "ol", "menu", "dir"))
ROWS = frozenset(("thead", "tbody", "tfoot", "tr"))
CELLS = frozenset(("td", "th"))
PREFORMATTED = frozenset(("pre", "listing"))
BREAKING = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "head", "header",
    "hgroup", "hr", "html", "legend", "main", "nav", "p", "search", "section", "summary",
))  # fmt: skip
_BLOCKS = HEADINGS | LISTS | PREFORMATTED | BREAKING | {"table"}

# Elements whose content is no markup: nothing but their own end tag ends them.
_RAW = frozenset(("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "noscript"))
_SKIPPED = frozenset(("template", "svg", "select", "datalist", "object", "video", "audio", "canvas", "rp"))
_VOID = frozenset((
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta",
    "param", "source", "track", "wbr",
))  # fmt: skip

# Elements whose end tag may be missing: (what they may hold that has such elements again, what ends them when it
# begins).
_TABLE, _LIST = frozenset(("table",)), frozenset(("li",))
_OPTIONAL_END: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "p": (frozenset(), _BLOCKS),
    "li": (LISTS, _LIST),
    "dt": (frozenset(("dl",)), frozenset(("dt", "dd"))),
    "dd": (frozenset(("dl",)), frozenset(("dt", "dd"))),
    "td": (_TABLE, CELLS | ROWS),
    "th": (_TABLE, CELLS | ROWS),
    "tr": (_TABLE, ROWS),
}

# Possessive throughout: no part of a tag is read twice. An end of the text inside a tag swallows the tag, as the
# standard says.
_TAG = re.compile(
    r"""<(/?)([a-zA-Z][^\s/>]*+)((?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|(?![\"'])))*+)(?:>|\Z)"""
)
_TEXT = re.compile(r"(?:[^<]++|<(?![a-zA-Z!?/]))++")
_COMMENT = re.compile(r"<!--(?:-?>|(?s:.*?)(?:--!?>|\Z))")
_DECLARATION = re.compile(r"<(?:[!?]|/[^a-zA-Z])[^>]*+(?:>|\Z)")
_ATTRIBUTE = re.compile(r"""([^\s"'>/=]++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s>"']++))?""")
_RAW_ENDS = {name: re.compile(rf"</{name}(?=[\s/>]|\Z)", re.IGNORECASE) for name in _RAW}
_HIDING_STYLE = re.compile(r"(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Tag:
    """A start tag or an end tag; `source` is what it says after its name."""

    name: str
    closing: bool
    source: str

    def attributes(self) -> dict[str, str]:
        """Its attributes, names in lower case; of two with one name the first counts."""
        found: dict[str, str] = {}
        for name, value in _ATTRIBUTE.findall(self.source):
            found.setdefault(name.lower(), html.unescape(value.strip("\"'")))
        return found

    def hidden(self) -> bool:
        """Whether it starts something that is not shown."""
        source = self.source.lower()
        if "hidden" not in source and "display" not in source:
            return False
        attributes = self.attributes()
        return "hidden" in attributes or bool(_HIDING_STYLE.search(attributes.get("style", "")))


def readable(text: str) -> Iterator[str | Tag]:
    """Text with its entities resolved, and the tags around it, without what nobody reads."""
    skip: _Skip | None = None
    for part in _parts(text):
        if skip is not None:
            if not skip.covers(part):
                skip = None
            if skip is not None or (isinstance(part, Tag) and part.closing and part.name not in _BLOCKS):
                continue
        if isinstance(part, Tag) and not part.closing and part.name not in _VOID:
            foreign = part.name == "svg" and part.source.endswith("/")
            if not foreign and (part.name in _SKIPPED or part.hidden()):
                skip = _Skip(part.name)
                continue
        yield part


class _Skip:
    """What is being left out: an element, to its end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nested = 0
        self._holders, self._enders = _OPTIONAL_END.get(name, (frozenset((name,)), frozenset()))
        self._optional = name in _OPTIONAL_END
        self._done = False

    def covers(self, part: str | Tag) -> bool:
        """Whether a part still belongs to what is left out."""
        if self._done:
            return False
        if isinstance(part, str):
            return True
        if not part.closing:
            if self._nested == 0 and part.name in self._enders:
                return False
            self._nested += part.name in self._holders
            return True
        if self._nested == 0:
            # The element's own end tag is the last thing left out; that of what it stands in ends it too.
            self._done = part.name == self._name
            return self._done or not (self._optional and (part.name in self._holders or part.name in _BLOCKS))
        self._nested -= part.name in self._holders
        return True


def _parts(text: str) -> Iterator[str | Tag]:
    place = 0
    while place < len(text):
        run = _TEXT.match(text, place)
        if run is not None:
            yield _resolved(run[0])
            place = run.end()
            continue
        tag = _TAG.match(text, place)
        if tag is None:
            other = _COMMENT.match(text, place) or _DECLARATION.match(text, place)
            if other is None:
                yield "<"
            place = other.end() if other else place + 1
            continue
        place = tag.end()
        name = tag[2].lower()
        if name in _RAW:
            if not tag[1]:
                end = _RAW_ENDS[name].search(text, place)
                place = end.start() if end else len(text)
            continue
        yield Tag(name, bool(tag[1]), tag[3])


def _resolved(text: str) -> str:
    return (html.unescape(text) if "&" in text else text).replace("\x00", "\ufffd")
