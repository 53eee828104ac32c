"""The query of a request, read strictly: a misspelt or repeated parameter is refused instead of silently doing nothing.

`documented` puts the parameters of a route into the OpenAPI document, which cannot see what a route reads by itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette import requests

from bloomweaver.domain import errors, identity
from bloomweaver.domain.reasons import Reason

WAITING: Final = ("wait", "timeout")
PAGING: Final = ("limit", "cursor")
DEFAULT_TIMEOUT_SECONDS: Final = 20.0
MAX_TIMEOUT_SECONDS: Final = 60.0

_NUMBER: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?", re.ASCII)
_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "wait": "`searchable`: answer when the change can be searched, with 200, or with 202 when time ran out.",
    "timeout": "Seconds to wait, 1 to 60; 20 unless given.",
    "limit": "Items per page, 1 to 1000; 50 unless given.",
    "cursor": "The `next_cursor` of the page before, unchanged.",
    "source_version": "The source's version of the document; needed where the collection orders by it.",
    "title": "Title of the document.",
    "url": "Where the document lives.",
    "origin": "What the document was pushed from.",
    "batch_id": "Name of the batch that the change belongs to.",
    "collection": "Name of a collection.",
    "source": "The source of the event; empty for events without one.",
    "state": "Only documents in this state.",
    "prefix": "Only ids that begin with this.",
    "since": "Only documents accepted at or after this time (RFC 3339).",
    "version": "`desired` (what was sent last) or `live` (what search shows).",
    "form": "`sent`, or `extracted`: the text that offsets count in.",
    "reason": "Only documents that failed for this reason.",
    "confirm": "The name of the collection, again.",
    "model": "Name of a model: tell what a re-index to it would take, without beginning one.",
    "force": "`true`: promote although not everything is ready.",
    "rotate": "`begin` makes a new secret beside the old one, `end` drops the old one.",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait for a change to be searchable."""

    timeout_seconds: float


def read(request: requests.Request, *allowed: str) -> dict[str, str]:
    """The parameters, each at most once; 422 for any other."""
    if not request.scope["query_string"]:
        return {}
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            offer = f"known here: {', '.join(allowed)}" if allowed else "this call takes none"
            raise wrong(name[:64], f"an unknown parameter; {offer}")
        if name in found:
            raise wrong(name, "a parameter is given once")
        if not value.isprintable():
            raise wrong(name, "no control characters")
        found[name] = value
    return found


def wait_of(query: Mapping[str, str]) -> Wait | None:
    """`?wait=searchable&timeout=`; 422 for anything else."""
    wait, timeout = query.get("wait"), query.get("timeout")
    if wait is None and timeout is None:
        return None
    if wait != "searchable":
        raise wrong("wait", "'searchable' is what can be waited for")
    if timeout is None:
        return Wait(DEFAULT_TIMEOUT_SECONDS)
    if not _NUMBER.fullmatch(timeout) or not 1.0 <= float(timeout) <= MAX_TIMEOUT_SECONDS:
        raise wrong("timeout", f"seconds from 1 to {MAX_TIMEOUT_SECONDS:.0f}")
    return Wait(float(timeout))


def source_version_of(query: Mapping[str, str]) -> int | None:
    """`?source_version=`, digits within 63 bits."""
    text = query.get("source_version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) > identity.MAX_SOURCE_VERSION:
        raise wrong("source_version", "an integer from 0 to 2^63-1")
    return int(text)


def choice(query: Mapping[str, str], name: str, *, values: tuple[str, ...]) -> str | None:
    """A parameter of few values; None if it is not given."""
    value = query.get(name)
    if value is not None and value not in values:
        raise wrong(name, f"one of {', '.join(values)}")
    return value


def wrong(name: str, detail: str) -> errors.Refusal:
    """The refusal of one parameter."""
    return errors.Refusal(Reason.INVALID_REQUEST, f"{name}: {detail}.", pointers=((f"/{name}", detail),))


def documented(*names: str, **extra: object) -> dict[str, object]:
    """For `openapi_extra`: the parameters, beside what else the route says of itself."""
    listed = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {"type": "string"},
            "description": _DESCRIPTIONS[name],
        }
        for name in names
    ]
    return {"parameters": listed, **extra}
