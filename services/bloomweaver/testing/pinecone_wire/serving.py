"""The HTTP of the fake: one ASGI application for index and control plane, and a server on loopback for it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import uvicorn
from starlette import applications, exceptions, requests, responses, routing

from bloomweaver.testing.pinecone_wire import description, validation
from bloomweaver.testing.pinecone_wire import service as services

Handle = Callable[[requests.Request, Any], services.Answer]

START_SECONDS = 10.0


def application(service: services.Service) -> applications.Starlette:
    """The ASGI application."""
    handlers = _handlers(service)
    routes = [
        routing.Route(path, _endpoint(service, path, method, handlers[operation["operationId"]]), methods=[method])
        for (path, method), operation in description.OPERATIONS.items()
    ]
    return applications.Starlette(routes=routes, exception_handlers={exceptions.HTTPException: _no_route})


@contextlib.asynccontextmanager
async def serve(service: services.Service) -> AsyncIterator[str]:
    """Serves on a free port of loopback until the context ends; gives the URL."""
    config = uvicorn.Config(
        application(service), host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    # Not serve(): that would take over the signals of the process.
    task = asyncio.create_task(server._serve())  # noqa: SLF001 - as above
    try:
        async with asyncio.timeout(START_SECONDS):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


def _handlers(service: services.Service) -> Mapping[str, Handle]:
    def listing(request: requests.Request) -> dict[str, Any]:
        asked = request.query_params
        return {
            "prefix": asked.get("prefix", ""),
            "limit": int(asked.get("limit", services.PAGE)),
            "token": asked.get("paginationToken"),
        }

    return {
        "describe_index": lambda request, body: service.describe(
            host=str(request.base_url).rstrip("/"), name=request.path_params["index_name"]
        ),
        "describeIndexStats": lambda request, body: service.stats(body),
        "upsertVectors": lambda request, body: service.upsert(body, size_bytes=int(request.headers["content-length"])),
        "deleteVectors": lambda request, body: service.delete(body),
        "queryVectors": lambda request, body: service.query(body),
        "listVectors": lambda request, body: service.list_ids(
            request.query_params.get("namespace", ""), **listing(request)
        ),
        "listNamespacesOperation": lambda request, body: service.list_namespaces(**listing(request)),
        "deleteNamespace": lambda request, body: service.drop(request.path_params["namespace"]),
    }


def _endpoint(
    service: services.Service, path: str, method: str, handle: Handle
) -> Callable[[requests.Request], Awaitable[responses.Response]]:
    operation = description.OPERATIONS[path, method]
    header = next(iter(operation["responses"]["200"].get("headers", ())), None)

    async def endpoint(request: requests.Request) -> responses.Response:
        service.requests[operation["operationId"]] += 1
        faults = service.faults
        key = request.headers.get("api-key", "")
        if not key or service.key not in (None, key):
            return responses.PlainTextResponse("Unauthorized", 401)
        if faults.strikes("throttle"):
            after = {} if faults.retry_after_seconds is None else {"Retry-After": str(faults.retry_after_seconds)}
            return responses.PlainTextResponse("Too many requests", 429, headers=after)
        if faults.strikes("web_page"):
            return responses.HTMLResponse("<html><body>Welcome to nginx</body></html>")
        try:
            if faults.strikes("unavailable"):
                raise services.RefusedError(503, "Service unavailable")
            answer = handle(request, await _checked(request, operation))
        except services.RefusedError as refused:
            return _status(refused.status, refused.message)
        headers = {header: str(answer.position)} if header and faults.positions else {}
        return responses.JSONResponse(answer.body, headers=headers)

    return endpoint


async def _checked(request: requests.Request, operation: Mapping[str, Any]) -> Any:
    """The body, once it and the parameters are as described."""
    known = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            raise services.RefusedError(400, f"{name} is no parameter of this")
    for parameter in operation["parameters"]:
        name, where = parameter["name"], parameter["in"]
        held: Mapping[str, Any] = {
            "header": request.headers,
            "query": request.query_params,
            "path": request.path_params,
        }[where]
        if name not in held:
            if parameter.get("required"):
                raise services.RefusedError(400, f"{name} is missing")
            continue
        if where == "query" and len(request.query_params.getlist(name)) > 1:
            raise services.RefusedError(400, f"{name} is given twice")
        _refuse(validation.complaint(_typed(held[name], parameter["schema"]), parameter["schema"], at=name))
    if "requestBody" not in operation:
        return None
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise services.RefusedError(415, "The body is application/json")
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise services.RefusedError(400, "The body is no JSON") from error
    _refuse(validation.complaint(body, operation["requestBody"]["content"]["application/json"]["schema"]))
    return body


def _typed(text: str, schema: Mapping[str, Any]) -> object:
    return int(text) if schema.get("type") == "integer" and text.isascii() and text.isdigit() else text


def _refuse(complaint: str | None) -> None:
    if complaint:
        raise services.RefusedError(400, complaint)


async def _no_route(_: requests.Request, error: Exception) -> responses.Response:
    assert isinstance(error, exceptions.HTTPException)
    answer = _status(error.status_code, error.detail)
    answer.headers.update(error.headers or {})
    return answer


def _status(status: int, message: str) -> responses.Response:
    return responses.JSONResponse({"code": status, "message": message}, status)
