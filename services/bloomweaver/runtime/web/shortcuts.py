"""A few routes that have to be quick are found before the framework looks for them.

The framework's way (its exception layer, exit stacks, one regular expression per route, dependencies) costs as much as
all else of an accept. A `Route` has a path without parameters and an endpoint that takes the request and returns a
Response, so there is nothing to work out; errors are the business of the layers outside, as everywhere.
"""

from collections.abc import Awaitable, Iterable, Mapping
from typing import Final

from fastapi import routing
from starlette import requests, responses, types
from starlette import routing as starlette_routing

ROUTE_KEY: Final = "route"


class Route(routing.APIRoute):
    """For a router's `route_class`. The framework keeps it too: for other methods, and for the OpenAPI document."""

    async def answer(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Call the endpoint and send what it returns."""
        scope[ROUTE_KEY] = self
        response: responses.Response = await self.endpoint(requests.Request(scope, receive, send))
        await response(scope, receive, send)


class Middleware:
    """Innermost of the layers: takes what is a shortcut's, leaves the rest to the framework."""

    def __init__(self, app: types.ASGIApp, *, routes: Iterable[starlette_routing.BaseRoute]) -> None:
        self._app = app
        self._found: Mapping[tuple[str, str], Route] = {
            (method, route.path): route
            for route in routes
            if isinstance(route, Route)
            for method in route.methods or ()
        }

    def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> Awaitable[None]:
        """ASGI."""
        route = self._found.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        return (self._app if route is None else route.answer)(scope, receive, send)
