"""An API server of Kubernetes on loopback, as far as the controller needs one: discovery, lists, watches, writes.

Objects live in memory; every write has a version and goes to whoever watches. Nothing is checked and nobody acts on
objects, so what is measured is the controller.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import uvicorn
from starlette import applications, requests, responses, routing

from bloomweaver.controller import apply, resources

Json = dict[str, Any]

VERBS: Final = ["create", "delete", "get", "list", "patch", "update", "watch"]
KINDS: Final = {plural: (kind, prefix) for kind, (prefix, plural) in apply.PATHS.items()} | {"pods": ("Pod", "api/v1")}


class Server:
    """writes: how many changed something. port: once it answers."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {plural: {} for plural in KINDS}
        self.writes = 0
        self.port = 0
        self._version = 1
        self._told: dict[str, list[Json]] = {plural: [] for plural in KINDS}
        self._watching: dict[str, list[asyncio.Queue[Json]]] = {plural: [] for plural in KINDS}

    def put(self, plural: str, body: Json) -> Json:
        """Store, and tell."""
        self._version += 1
        meta = {"uid": f"u-{self._version}", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
        made = body | {"metadata": meta | body["metadata"] | {"resourceVersion": str(self._version)}}
        name = made["metadata"].setdefault("name", f"{made['metadata'].get('generateName', '')}{self._version}")
        there = name in self.objects[plural]
        self.objects[plural][name] = made
        change = {"type": "MODIFIED" if there else "ADDED", "object": made}
        self._told[plural].append(change)
        for queue in self._watching[plural]:
            queue.put_nowait(change)
        return made

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Until the context ends."""
        app = applications.Starlette(
            routes=[
                routing.Route("/version", self._answer({"major": "1", "minor": "35"})),
                routing.Route("/api", self._answer({"kind": "APIVersions", "versions": ["v1"]})),
                routing.Route("/apis", self._answer({"kind": "APIGroupList", "groups": _groups()})),
                routing.Route("/api/v1", self._listed("api/v1")),
                routing.Route("/apis/{group}/{version}", self._group),
                routing.Route("/{prefix:path}/namespaces/{namespace}/{plural}", self._many, methods=["GET", "POST"]),
                routing.Route(
                    "/{prefix:path}/namespaces/{namespace}/{plural}/{name}/status", self._one, methods=["PATCH"]
                ),
                routing.Route(
                    "/{prefix:path}/namespaces/{namespace}/{plural}/{name}",
                    self._one,
                    methods=["GET", "PATCH", "PUT", "DELETE"],
                ),
            ]
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # uvicorn tells nobody
            await asyncio.sleep(0.01)
        self.port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await task

    def _answer(self, body: Json) -> Any:
        async def endpoint(_: requests.Request) -> responses.Response:
            return responses.JSONResponse(body)

        return endpoint

    def _listed(self, prefix: str) -> Any:
        return self._answer(_resources(prefix))

    async def _group(self, request: requests.Request) -> responses.Response:
        found = _resources(f"apis/{request.path_params['group']}/{request.path_params['version']}")
        return responses.JSONResponse(found, status_code=200 if found["resources"] else 404)

    async def _many(self, request: requests.Request) -> responses.Response:
        plural = request.path_params["plural"]
        if plural not in KINDS:
            return responses.JSONResponse({"message": f"no {plural}"}, status_code=404)
        if request.method == "POST":
            self.writes += 1
            return responses.JSONResponse(self.put(plural, await request.json()), status_code=201)
        if request.query_params.get("watch") == "true":
            since = int(request.query_params.get("resourceVersion") or 0)
            return responses.StreamingResponse(self._changes(plural, since), media_type="application/json")
        kind, prefix = KINDS[plural]
        listed = {
            "kind": f"{kind}List",
            "apiVersion": _api_version(prefix),
            "metadata": {"resourceVersion": str(self._version)},
            "items": list(self.objects[plural].values()),
        }
        return responses.JSONResponse(listed)

    async def _one(self, request: requests.Request) -> responses.Response:
        plural, name = request.path_params["plural"], request.path_params["name"]
        there = self.objects.get(plural, {}).get(name)
        if request.method in {"GET", "DELETE"}:
            return responses.JSONResponse(there or {"message": "none"}, status_code=200 if there else 404)
        self.writes += plural != "leases"
        body = await request.json()
        if request.url.path.endswith("/status"):
            return responses.JSONResponse(self.put(plural, (there or body) | {"status": body["status"]}))
        return responses.JSONResponse(self.put(plural, _merged(there or {}, body)))

    async def _changes(self, plural: str, since: int) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[Json] = asyncio.Queue()
        for change in self._told[plural]:
            if int(change["object"]["metadata"]["resourceVersion"]) > since:
                queue.put_nowait(change)
        self._watching[plural].append(queue)
        try:
            while True:
                yield json.dumps(await queue.get()).encode() + b"\n"
        finally:
            self._watching[plural].remove(queue)


def _resources(prefix: str) -> Json:
    listed = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": VERBS}
        for plural, (kind, at) in KINDS.items()
        if at == prefix
    ]
    if listed and prefix == "api/v1":
        verbs = ["get", "list", "watch"]
        listed.append(
            {"name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False, "verbs": verbs}
        )
    return {"kind": "APIResourceList", "groupVersion": _api_version(prefix), "resources": listed}


def _groups() -> list[Json]:
    found = sorted({prefix.removeprefix("apis/") for _, prefix in KINDS.values() if prefix.startswith("apis/")})
    return [
        {
            "name": each.partition("/")[0],
            "versions": [{"groupVersion": each, "version": each.partition("/")[2]}],
            "preferredVersion": {"groupVersion": each, "version": each.partition("/")[2]},
        }
        for each in found
    ]


def _api_version(prefix: str) -> str:
    return prefix.removeprefix("apis/").removeprefix("api/")


def _merged(there: Any, body: Any) -> Any:
    if isinstance(there, dict) and isinstance(body, dict):
        return there | {key: _merged(there.get(key), value) for key, value in body.items()}
    return body


def model(number: int) -> Json:
    """A resource with a model of its own."""
    spec = {
        "name": f"model-{number}",
        "space": f"{number:016x}",
        "dimensions": 384,
        "maxTokens": 256,
        "source": {"claim": {"name": "weights"}},
    }
    return {
        "apiVersion": resources.API_VERSION,
        "kind": resources.KIND,
        "metadata": {"name": f"model-{number}", "namespace": "kb"},
        "spec": {"model": spec},
    }
