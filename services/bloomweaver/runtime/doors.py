"""What a process answers before it is ready, and all that a worker ever answers: `/healthz`, `/readyz`, `/metrics`.

The listener is there from the first moment, so that whoever probes learns why it takes long. When the application is
open, it answers everything, these three in the same words.
"""

import json
from collections.abc import Mapping
from typing import Final

from starlette import types

from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime import health, metrics

PATHS: Final = ("/healthz", "/readyz", "/metrics")
HEALTHY: Final[Mapping[str, object]] = {"status": "ok"}


class Door:
    """An ASGI application in front of another one, or of none."""

    def __init__(self, health: health.Health, metrics: metrics.Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self.app: types.ASGIApp | None = None

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _send(send, *await self._answer(scope))

    async def _answer(self, scope: types.Scope) -> tuple[int, str, bytes]:
        path = scope["path"]
        if path == "/metrics":
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            body, content_type = self._metrics.render(accept)
            return 200, content_type, body
        if path == "/healthz":
            return 200, "application/json", _json(HEALTHY)
        report = await self._health.report()
        if path == "/readyz":
            status, answer = readiness(report)
            return status, "application/json", _json(answer)
        status, reason, detail = 404, Reason.NOT_FOUND, f"This process answers {', '.join(PATHS)}."
        if report.obstacles:
            status, reason, detail = (
                503,
                Reason.SHUTTING_DOWN,
                f"This process is not ready: {'; '.join(report.obstacles)}.",
            )
        title = "The process is not ready" if status == 503 else "There is nothing here"
        problem = {"type": f"/docs/reasons/{reason}", "title": title, "status": status, "detail": detail}
        return status, "application/problem+json", _json({**problem, "reason": str(reason)})


def readiness(report: health.Report) -> tuple[int, dict[str, object]]:
    """The status and the body that tell how it stands."""
    degraded = {"degraded": list(report.degraded)} if report.degraded else {}
    if report.obstacles:
        return 503, {"status": "unready", "obstacles": list(report.obstacles), **degraded}
    return 200, {"status": "ready", **degraded}


async def send_json(send: types.Send, status: int, answer: Mapping[str, object]) -> None:
    """The whole of an answer."""
    await _send(send, status, "application/json", _json(answer))


async def _send(send: types.Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
