"""One public address for several processes: each request goes, streamed, to the process that answers its path.

Nothing is kept in memory but what is on its way; a process that is away is a 503 that says when to come back, and a
request that had reached it is never sent twice.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx2
from starlette import types

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime import doors, health
from bloomweaver.runtime.web import problems

# A request may wait for its document to become searchable, and says itself how long.
TIMEOUTS: Final = httpx2.Timeout(connect=5.0, read=330.0, write=60.0, pool=30.0)
LIMITS: Final = httpx2.Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=30.0)
HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)


class Proxy:
    """routes: by prefix of the path, the port of the process; the longest that fits. `""` has to be among them."""

    def __init__(self, routes: Mapping[str, int], *, readiness: "health.Health", client: httpx2.AsyncClient) -> None:
        self._routes = sorted(routes.items(), key=lambda route: -len(route[0]))
        self._health = readiness
        self._client = client

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/healthz":
            await doors.send_json(send, 200, doors.HEALTHY)
        elif scope["path"] == "/readyz":
            await doors.send_json(send, *doors.readiness(await self._health.report()))
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        port = next(port for prefix, port in self._routes if scope["path"].startswith(prefix))
        raw: bytes = scope["raw_path"]
        query: bytes = scope["query_string"]
        url = httpx2.URL(scheme="http", host="127.0.0.1", port=port, raw_path=raw + (b"?" + query if query else b""))
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        sized = any(name == b"content-length" for name, _ in headers)
        streamed = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        body = _body(receive) if sized or streamed else None
        started = False
        try:
            async with self._client.stream(scope["method"], url, headers=headers, content=body) as answer:
                kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
                await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
                started = True
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except httpx2.TransportError:
            if started:
                raise
            detail = "The process that answers this does not, at the moment. Try again shortly."
            await problems.response(errors.TransientError(Reason.OVERLOADED, detail), scope)(scope, receive, send)


def open_client() -> httpx2.AsyncClient:
    """The connections to the processes; adds no headers of its own."""
    client = httpx2.AsyncClient(timeout=TIMEOUTS, limits=LIMITS, trust_env=False, follow_redirects=False)
    client.headers.clear()
    return client


async def _body(receive: types.Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx2.ReadError("the client went away")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
