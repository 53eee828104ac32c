"""A Kubernetes API in memory, as far as the controller writes to it: create, apply, replace, delete, status, versions.

api = KubernetesApi(); cluster = api.cluster(); api.objects["Deployment", "kb/minilm-…"]
"""

import json
import pathlib
from typing import Any

import httpx2
import yaml

from bloomweaver.controller import access, apply

KINDS = {plural: kind for kind, (_, plural) in apply.PATHS.items()}


class KubernetesApi:
    """requests: (method, path) of everything that was asked. answers: given instead, by method and path."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], tuple[int, str]] = {}
        self.tokens: list[str] = []
        self._version = 0

    def cluster(self, entered: access.Access | None = None) -> apply.Cluster:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        return apply.Cluster(http, entered or access.Access("http://api", token="secret"))

    @property
    def writes(self) -> list[str]:
        """`METHOD kind` of what would change something."""
        return [f"{method} {path.split('/')[-1]}" for method, path in self.requests if method != "GET"]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path, body = request.url.path, json.loads(request.content) if request.content else {}
        self.requests.append((request.method, path))
        self.tokens.append(request.headers.get("Authorization", ""))
        given = self.answers.get((request.method, path))
        if given is not None:
            return httpx2.Response(given[0], json={"message": given[1]})
        _, _, rest = path.partition("/namespaces/")
        namespace, plural, *name = rest.split("/")
        key = (KINDS[plural], f"{namespace}/{name[0]}" if name else "")
        code, answer = getattr(self, f"_{request.method.lower()}")(key, body, status=name[1:] == ["status"])
        return httpx2.Response(code, json=answer)

    def _get(self, key: tuple[str, str], _: object, **__: object) -> tuple[int, dict[str, Any]]:
        if not key[1]:
            return 200, {"items": [body for (kind, _), body in self.objects.items() if kind == key[0]]}
        return (200, self.objects[key]) if key in self.objects else (404, {})

    def _post(self, key: tuple[str, str], body: dict[str, Any], **_: object) -> tuple[int, dict[str, Any]]:
        meta = body["metadata"]
        key = (key[0], f"{meta['namespace']}/{meta.get('name') or meta['generateName'] + str(len(self.objects))}")
        return (409, {"message": "exists"}) if key in self.objects else (201, self._stored(key, body))

    def _put(self, key: tuple[str, str], body: dict[str, Any], **_: object) -> tuple[int, dict[str, Any]]:
        there = self.objects.get(key)
        if there is None or there["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            return 409, {"message": "changed"}
        return 200, self._stored(key, body)

    def _patch(self, key: tuple[str, str], body: dict[str, Any], *, status: bool) -> tuple[int, dict[str, Any]]:
        there = self.objects.get(key, {})
        return 200, self._stored(key, there | {"status": body["status"]} if status else _merged(there, body))

    def _delete(self, key: tuple[str, str], _: object, **__: object) -> tuple[int, dict[str, Any]]:
        return (200, {}) if self.objects.pop(key, None) is not None else (404, {})

    def _stored(self, key: tuple[str, str], body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        made = body | {"metadata": body["metadata"] | {"resourceVersion": str(self._version)}}
        self.objects[key] = made
        return made


def _merged(there: Any, body: Any) -> Any:
    if isinstance(there, dict) and isinstance(body, dict):
        return there | {key: _merged(there.get(key), value) for key, value in body.items()}
    return body


def kubeconfig(folder: pathlib.Path, url: str) -> str:
    """The path of a file that leads to an API server with a token."""
    named = {"name": "local"}
    made = {
        "current-context": "local",
        "contexts": [named | {"context": {"cluster": "local", "user": "local"}}],
        "clusters": [named | {"cluster": {"server": url}}],
        "users": [named | {"user": {"token": "secret"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(made), encoding="utf-8")
    return str(file)
