"""What names the work at hand: read by log lines, by the history of what a request changed, by the hints it sends.

A contextvar, so that it follows the request through every await without being an argument of every function. It is for
saying who asked, never for deciding what is done.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

WHOLE_BODY_KEY: Final = "bloomweaver.whole_body"
"""In the scope of a request whose body is there already: reading it cannot wait for anybody."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request, or the hint, that caused the work. traceparent is passed on as it came (W3C Trace Context)."""

    request_id: str = ""
    traceparent: str | None = None


_NOTHING: Final = RequestContext()
_CURRENT: Final[contextvars.ContextVar[RequestContext]] = contextvars.ContextVar("bloomweaver", default=_NOTHING)


def current() -> RequestContext:
    """The context at hand; outside of any request one without a name."""
    return _CURRENT.get()


@contextlib.contextmanager
def using(context: RequestContext) -> Iterator[None]:
    """Let the context name all work inside."""
    token = begin(context)
    try:
        yield
    finally:
        end(token)


def begin(context: RequestContext) -> contextvars.Token[RequestContext]:
    """`using` for the one place that every request passes; `end` takes what this gives."""
    return _CURRENT.set(context)


def end(token: contextvars.Token[RequestContext]) -> None:
    """Back to what was before."""
    _CURRENT.reset(token)
