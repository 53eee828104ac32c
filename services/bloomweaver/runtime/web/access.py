"""One log line and one measurement per request: what was asked, how it ended, how long it took.

The line names the route's template, the reason of a refusal and the key's public id; never a header, a query, a body or
a document. A path that matches no route is counted as one, so that a scanner cannot make labels.
"""

import logging
from typing import Final

from starlette import types

from bloomweaver import logger
from bloomweaver.ports import clock as clocks
from bloomweaver.runtime import context
from bloomweaver.runtime import metrics as metrics_module
from bloomweaver.runtime.web import authentication, problems

NOBODY_LEFT: Final = 499  # the client went away before there was an answer
UNMATCHED: Final = "unmatched"
QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Middleware:
    """Stands outermost but for the request's name, so that every answer is seen."""

    def __init__(self, app: types.ASGIApp, *, clock: clocks.Clock, metrics: metrics_module.Metrics) -> None:
        self._app = app
        self._clock = clock
        self._metrics = metrics
        self._log = logger.get("bloomweaver.access")
        self._says = self._log.is_enabled_for(logging.INFO)

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        status = 0

        async def watched_send(message: types.Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        finally:
            self._record(scope, status or NOBODY_LEFT, seconds=self._clock.monotonic() - started)

    def _record(self, scope: types.Scope, status: int, *, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", UNMATCHED)
        reason = scope.get(problems.REASON_KEY)
        self._metrics.observe_request(scope["method"], route, status=status, seconds=seconds)
        if reason is not None:
            self._metrics.count_refusal(reason)
        if not self._says or route in QUIET:
            return
        fields: dict[str, object] = {
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_seconds": round(seconds, 6),
            "request_id": context.current().request_id,
        }
        principal = scope.get(authentication.PRINCIPAL_KEY)
        if principal is not None:
            fields.update(tenant=principal.tenant, key_id=principal.key_id)
        if reason is not None:
            fields["reason"] = reason
        self._log.info("request", **fields)
