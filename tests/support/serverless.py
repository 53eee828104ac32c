"""What OpenSearch Serverless refuses, by its list of operations, in front of an OpenSearch that would take it."""

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator

import httpx2
import uvicorn
from starlette import applications, requests, responses, routing

TAKEN = (
    ("GET", re.compile(r"/[^/_][^/]*(/_mapping)?")),
    ("PUT", re.compile(r"/[^/_][^/]*")),
    ("POST", re.compile(r"/[^/_][^/]*/_(bulk|search)")),
)
UNKNOWN_PARAMETERS = frozenset({"refresh", "routing"})
DECIDED = frozenset({"number_of_shards", "number_of_replicas"})


def refusal(method: str, path: str, parameters: set[str], body: bytes) -> str | None:
    """Why a request is not taken."""
    if not any(method == known and pattern.fullmatch(path) for known, pattern in TAKEN):
        return f"{method} {path} is not supported"
    if parameters & UNKNOWN_PARAMETERS:
        return f"{sorted(parameters)} are not supported"
    if path.endswith("/_bulk"):
        actions = [json.loads(line) for line in body.splitlines() if line.startswith((b'{"index"', b'{"create"'))]
        if any("_id" in next(iter(action.values())) for action in actions):
            return "Document ID is not supported in create/index operation request"
    if method == "PUT" and DECIDED & json.loads(body)["settings"]["index"].keys():
        return "The number of shards is not yours to say"
    return None


@contextlib.asynccontextmanager
async def before(url: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Host and port of it, and what was refused."""
    refused: list[str] = []
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:

        async def answer(request: requests.Request) -> responses.Response:
            body = await request.body()
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            why = refusal(request.method, request.url.path, set(request.query_params), body)
            if why is not None:
                refused.append(why)
                told = {"error": {"type": "illegal_argument_exception", "reason": why}, "status": 400}
                return responses.JSONResponse(told, status_code=400)
            headers = {"content-type": request.headers.get("content-type", "application/json")}
            found = await client.request(
                request.method, request.url.path, params=dict(request.query_params), content=body, headers=headers
            )
            return responses.Response(found.content, found.status_code, media_type=found.headers["content-type"])

        app = applications.Starlette(
            routes=[routing.Route("/{path:path}", answer, methods=["GET", "PUT", "POST", "DELETE"])]
        )
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_keep_alive=3600)
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"127.0.0.1:{port}", refused
        finally:
            server.should_exit = True
            await serving
