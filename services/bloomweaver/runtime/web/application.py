"""The HTTP application of every service: one stack around the routes that a service brings.

    app = application.create(
        application.Surroundings(clock=clock, nonces=nonces, metrics=metrics, authenticator=authenticator),
        title="BloomWeaver",
        version=bloomweaver.__version__,
        routers=[events.router(service), documents.router(service)],
    )

Layers from outside to inside, all plain ASGI, because a request passes them at every accept: the request's name; log
and metrics; errors to problems; the raw path; a bound on concurrency; the credential; the key's rate; shortcuts; the
routes. The framework's own outer layers (errors, sizes, telemetry) are left out: ours do their work.
Routers are made by `paths.router()`. Invariants: a path below /v1 is never reached without a credential unless it is
under `open_prefixes`; nothing of a body is logged; every answer, also an error, carries X-Request-Id.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import fastapi
from fastapi import exceptions as fastapi_exceptions
from fastapi.middleware import asyncexitstack
from starlette import exceptions as starlette_exceptions
from starlette import middleware, requests, responses, types
from starlette.middleware import exceptions as exception_layer

from bloomweaver.ports import clock as clocks
from bloomweaver.runtime import doors, health, tracing
from bloomweaver.runtime import metrics as metrics_module
from bloomweaver.runtime.web import (
    access,
    answers,
    authentication,
    documentation,
    limits,
    paths,
    problems,
    rates,
    request_ids,
    shortcuts,
    traces,
)

Lifespan = Callable[[fastapi.FastAPI], AbstractAsyncContextManager[None]]


async def always_ready() -> health.Report:
    """For a service that depends on nothing."""
    return health.Report()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the stack needs from the process.

    readiness: what keeps the process from serving. open_prefixes: paths below /v1
    that check a credential of their own (signed sources). rate_limiter: None leaves the rate of a key unlimited.
    """

    clock: clocks.Clock
    nonces: clocks.Nonces
    metrics: metrics_module.Metrics
    authenticator: authentication.Authenticator
    readiness: Callable[[], Awaitable[health.Report]] = always_ready
    open_prefixes: tuple[str, ...] = ()
    rate_limiter: rates.RateLimiter | None = None
    max_concurrent_requests: int = 1000
    tracer: tracing.Tracer | None = None


class _Application(fastapi.FastAPI):
    """The framework's application inside our layers, instead of around them."""

    def __call__(  # type: ignore[override]  # a coroutine made by the stack is as good as one of our own
        self, scope: types.Scope, receive: types.Receive, send: types.Send
    ) -> Awaitable[None]:
        """ASGI, without the framework's two frames around it."""
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        return self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> types.ASGIApp:
        """What a request passes; asked for once, with the first request."""
        inner: types.ASGIApp = asyncexitstack.AsyncExitStackMiddleware(self.router)
        inner = exception_layer.ExceptionMiddleware(inner, handlers=self.exception_handlers)
        inner = shortcuts.Middleware(inner, routes=self.router.routes)
        for layer, args, kwargs in reversed(self.user_middleware):
            inner = layer(inner, *args, **kwargs)
        return inner


def create(
    surroundings: Surroundings,
    *,
    title: str,
    version: str,
    routers: Sequence[fastapi.APIRouter] = (),
    lifespan: Lifespan | None = None,
) -> fastapi.FastAPI:
    """The application with all of the routers, health, metrics and documentation."""
    app = _Application(
        title=title,
        version=version,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        middleware=_layers(surroundings),
        exception_handlers={
            starlette_exceptions.HTTPException: problems.on_http_exception,
            fastapi_exceptions.RequestValidationError: problems.on_validation_error,
        },
    )
    for router in (*routers, _probes(surroundings), documentation.router(app)):
        # Not include_router: it matches every path twice, and a router here has no prefix that would need it.
        app.router.routes.extend(router.routes)
    return app


def _layers(surroundings: Surroundings) -> list[middleware.Middleware]:
    layers: list[Any] = [
        middleware.Middleware(request_ids.Middleware, new_request_id=surroundings.nonces.nonce),
        middleware.Middleware(access.Middleware, clock=surroundings.clock, metrics=surroundings.metrics),
        middleware.Middleware(problems.Middleware),
        middleware.Middleware(paths.Middleware),
        middleware.Middleware(limits.Concurrency, limit=surroundings.max_concurrent_requests),
        middleware.Middleware(
            authentication.Middleware,
            authenticator=surroundings.authenticator,
            open_prefixes=surroundings.open_prefixes,
        ),
    ]
    if surroundings.tracer is not None and not isinstance(surroundings.tracer, tracing.Silent):
        layers.insert(1, middleware.Middleware(traces.Middleware, tracer=surroundings.tracer))
    if surroundings.rate_limiter is not None:
        layers.append(middleware.Middleware(rates.Middleware, limiter=surroundings.rate_limiter))
    return layers


def _probes(surroundings: Surroundings) -> fastapi.APIRouter:
    router = paths.router(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> responses.Response:
        return answers.as_json(doors.HEALTHY)

    @router.get("/readyz")
    async def readyz() -> responses.Response:
        status, answer = doors.readiness(await surroundings.readiness())
        return answers.as_json(answer, status=status)

    @router.get("/metrics")
    async def metrics(request: requests.Request) -> responses.Response:
        body, content_type = surroundings.metrics.render(request.headers.get("accept", ""))
        return responses.Response(body, headers={"content-type": content_type})

    return router
