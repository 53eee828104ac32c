"""A name for every request: in the answer's `X-Request-Id`, in every log line, in the history of what it changed.

A well-formed `X-Request-Id` of the caller is kept, so that one id leads through several systems; anything else is
replaced, never refused and never logged. The same goes for `traceparent` (W3C Trace Context), which is passed on.
`context.current()` gives both.
"""

import re
from collections.abc import Callable
from typing import Final

from starlette import types

from bloomweaver.runtime import context

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Middleware:
    """Names the request and repeats the name in the answer, also in that to an error."""

    def __init__(self, app: types.ASGIApp, *, new_request_id: Callable[[], str]) -> None:
        self._app = app
        self._new_request_id = new_request_id

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        here = read_context(scope["headers"], new_request_id=self._new_request_id)
        header = (b"x-request-id", here.request_id.encode("ascii"))

        async def named_send(message: types.Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        token = context.begin(here)
        try:
            await self._app(scope, receive, named_send)
        finally:
            context.end(token)


def read_context(headers: list[tuple[bytes, bytes]], *, new_request_id: Callable[[], str]) -> context.RequestContext:
    """The caller's names where they are well-formed, else our own."""
    request_id: str | None = None
    traceparent: str | None = None
    for name, value in headers:
        if name == b"x-request-id" and request_id is None and _REQUEST_ID.fullmatch(value):
            request_id = value.decode("ascii")
        elif name == b"traceparent" and traceparent is None and _TRACEPARENT.fullmatch(value):
            traceparent = value.decode("ascii")
    return context.RequestContext(request_id or new_request_id(), traceparent)
