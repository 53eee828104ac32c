"""What one request may take: bytes, time, a place among the others. How often a key may ask is in `rates`.

Bodies are counted while they stream in, so a false Content-Length gains nothing; compressed bodies are refused, so
none can grow on arrival. `Concurrency` bounds the work at hand (503).
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from starlette import requests, types

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime import context
from bloomweaver.runtime.web import authentication

ONE_EVENT_BYTES: Final = 12 * 1024 * 1024
SEVERAL_EVENTS_BYTES: Final = 64 * 1024 * 1024
SMALL_BYTES: Final = 1024 * 1024
MAX_ITEMS: Final = 1000
BODY_IDLE_SECONDS: Final = 30.0
BODY_BYTES_PER_SECOND: Final = 4096
"""Whoever sends more slowly for more than the idle seconds holds a place that others could use."""
MAX_HEADER_ID_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type taken apart; `charset` in lower case, None if absent."""

    name: str
    charset: str | None = None


def media_type(request: requests.Request, allowed: Collection[str] | None = None) -> MediaType:
    """The request's one Content-Type; 415 if it is missing, repeated, not among `allowed`, or not UTF-8."""
    values = header_values(request, b"content-type")
    parts = values[0].decode("latin-1").split(";") if len(values) == 1 else [""]
    name = parts[0].strip().lower()
    if not name or (allowed is not None and name not in allowed):
        offer = f" Send one of: {', '.join(sorted(allowed))}." if allowed else ""
        raise errors.Refusal(Reason.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type is missing or not known here.{offer}")
    charset = None
    for part in parts[1:]:
        key, _, value = part.partition("=")
        if key.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if charset not in (None, "utf-8", "utf8", "us-ascii"):
        raise errors.Refusal(Reason.UNSUPPORTED_MEDIA_TYPE, "Only UTF-8 is accepted.")
    return MediaType(name, charset)


async def read_body(request: requests.Request, *, limit_bytes: int, idle_seconds: float = BODY_IDLE_SECONDS) -> bytes:
    """The whole body, if it stays within the limit and keeps coming."""
    refuse_encoding(request)
    declared = next(iter(header_values(request, b"content-length")), b"0")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limit_bytes):
        raise _too_large(limit_bytes)
    if context.WHOLE_BODY_KEY in request.scope:
        return _whole(await request.receive(), limit_bytes=limit_bytes)  # spares every accept a timer
    chunks: list[bytes] = []
    size = 0
    began = asyncio.get_running_loop().time()
    while True:
        ends = began + idle_seconds + size / BODY_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(min(ends, asyncio.get_running_loop().time() + idle_seconds)):
                message = await request.receive()
        except TimeoutError:
            detail = f"The body stopped arriving, or was too slow, for {idle_seconds:.0f} s."
            raise errors.Refusal(Reason.REQUEST_TIMEOUT, detail) from None
        if message["type"] == "http.disconnect":
            raise requests.ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunk if len(chunks) == 1 else b"".join(chunks)


def _whole(message: types.Message, *, limit_bytes: int) -> bytes:
    """The body in a message that has all of it."""
    if message["type"] == "http.disconnect":
        raise requests.ClientDisconnect
    body: bytes = message.get("body", b"")
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return body


def refuse_encoding(request: requests.Request) -> None:
    """Any Content-Encoding is refused: what arrives is what is counted."""
    if header_values(request, b"content-encoding"):
        raise errors.Refusal(Reason.UNSUPPORTED_ENCODING, "Send the body without Content-Encoding.")


def header_values(request: requests.Request, name: bytes) -> list[bytes]:
    """All values of a header; its name in lower case. The framework's way copies and decodes every header each time."""
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    return [value for found, value in headers if found == name]


def header_id(request: requests.Request, name: str) -> str | None:
    """An id from a header such as Idempotency-Key: printable ASCII, bounded; None if the header is absent."""
    values = header_values(request, name.encode("ascii"))
    if not values:
        return None
    value = values[0].decode("latin-1")
    good = len(values) == 1 and 0 < len(value) <= MAX_HEADER_ID_CHARACTERS and value.isascii() and value.isprintable()
    if not good:
        detail = f"one header of 1 to {MAX_HEADER_ID_CHARACTERS} printable ASCII characters"
        raise errors.Refusal(Reason.INVALID_REQUEST, f"{name}: {detail}.")
    return value


class Concurrency:
    """At most `limit` requests at once below /v1; the next one is told to come back, instead of all becoming slow."""

    def __init__(self, app: types.ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._running = 0

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not scope["path"].startswith(authentication.GUARDED):
            await self._app(scope, receive, send)
            return
        if self._running >= self._limit:
            raise errors.TransientError(Reason.OVERLOADED, "Too many requests at once. Try again shortly.")
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1


def _too_large(limit_bytes: int) -> errors.Refusal:
    return errors.Refusal(Reason.TOO_LARGE, f"The body is larger than {limit_bytes} bytes.")
