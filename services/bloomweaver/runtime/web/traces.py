"""A span per request, named by the route's template; what the request causes belongs to its trace."""

from starlette import types

from bloomweaver.runtime import tracing

QUIET = ("/healthz", "/readyz", "/metrics")


class Middleware:
    """Stands inside of the request's name, whose trace context it continues."""

    def __init__(self, app: types.ASGIApp, *, tracer: tracing.Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        status = 0

        async def watched_send(message: types.Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.request(scope["method"]) as span:
            try:
                await self._app(scope, receive, watched_send)
            finally:
                route = getattr(scope.get("route"), "path_format", "unmatched")
                span.describe(f"{scope['method']} {route}", {"http.route": route, "http.response.status_code": status})
