"""Answers: compact JSON, and the one shape of a list."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pydantic_core
from starlette import requests, responses

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

JSON: Final = "application/json"
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1000

_MAX_CURSOR_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class Page:
    """What `?limit=` and `?cursor=` ask for; `after` is what the last page's cursor was made of."""

    limit: int
    after: str | None


def as_json(
    content: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> responses.Response:
    """A JSON answer. The content is made of plain values."""
    # Every accept ends here, and the standard library takes more than twice as long.
    body = pydantic_core.to_json(content, inf_nan_mode="null")
    if headers is None:
        return _Json(body, status)
    return responses.Response(body, status_code=status, media_type=JSON, headers=headers)


class _Json(responses.Response):
    """The answer of most requests: its two headers are known beforehand."""

    media_type = JSON

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]


def as_page(items: Sequence[Mapping[str, object]], *, after: str | None) -> responses.Response:
    """One page of a list. `after` continues it, None ends it."""
    return as_json({"items": list(items), "next_cursor": None if after is None else make_cursor(after)})


def page_of(request: requests.Request) -> Page:
    """The page that the query asks for; 422 if it cannot be one."""
    limits = request.query_params.getlist("limit") or [str(DEFAULT_LIMIT)]
    text = limits[0]
    if len(limits) > 1 or not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        detail = f"an integer from 1 to {MAX_LIMIT}"
        raise errors.Refusal(Reason.INVALID_REQUEST, f"limit is {detail}.", pointers=(("/limit", detail),))
    cursors = request.query_params.getlist("cursor")
    if len(cursors) > 1:
        raise _invalid_cursor()
    return Page(int(text), read_cursor(cursors[0]) if cursors else None)


def make_cursor(after: str) -> str:
    """An opaque cursor: clients send it back and never look inside."""
    return base64.urlsafe_b64encode(b"1" + after.encode()).decode("ascii").rstrip("=")


def read_cursor(cursor: str) -> str:
    """What `make_cursor` was given; 422 for anything that it did not make."""
    if len(cursor) > _MAX_CURSOR_CHARACTERS or not cursor.isascii():
        raise _invalid_cursor()
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        after = decoded[1:].decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise _invalid_cursor() from None
    if not decoded.startswith(b"1") or make_cursor(after) != cursor:
        raise _invalid_cursor()
    return after


def _invalid_cursor() -> errors.Refusal:
    detail = "a cursor is the next_cursor of the page before, unchanged"
    return errors.Refusal(Reason.INVALID_CURSOR, f"{detail.capitalize()}.", pointers=(("/cursor", detail),))
