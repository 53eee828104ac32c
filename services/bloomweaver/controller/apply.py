"""The API server, as far as the controller writes to it: server-side apply, delete, status, events.

Invariants: every call has a time limit; an answer that will not change by itself (forbidden, invalid) is told apart
from one that will; what is not there any more is no error of a delete.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from bloomweaver.controller import access, planning, resources
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

MANAGER: Final = "bloomweaver-controller"
FIRST_MANAGER: Final = "bloomweaver-controller-first"
TIMEOUT_SECONDS: Final = 10.0
PATHS: Final[Mapping[str, tuple[str, str]]] = {
    resources.KIND: (f"apis/{resources.API_VERSION}", resources.PLURAL),
    "Deployment": ("apis/apps/v1", "deployments"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "TriggerAuthentication": ("apis/keda.sh/v1alpha1", "triggerauthentications"),
    "PodMonitor": ("apis/monitoring.coreos.com/v1", "podmonitors"),
    "Event": ("api/v1", "events"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Secret": ("api/v1", "secrets"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
}

Json = dict[str, Any]


class Refused(errors.ConfigurationError):
    """The API server will not do it, and asking again does not help: code and what it says."""

    def __init__(self, code: int, message: str) -> None:
        reason = Reason.CREDENTIALS_REFUSED if code == httpx2.codes.FORBIDDEN else Reason.INVALID_CONFIGURATION
        super().__init__(reason, f"The Kubernetes API refuses: {code} {message}")
        self.code = code
        self.message = message


class Cluster:
    """One client for all calls; closed by whoever opened it."""

    def __init__(self, http: httpx2.AsyncClient, entered: access.Access) -> None:
        self._http = http
        self._access = entered

    async def get(self, kind: str, *, namespace: str, name: str) -> Json | None:
        """The object, or None."""
        return await self._call("GET", _path(kind, namespace, name), absent=True)

    async def serves(self, group_version: str, plural: str) -> bool:
        """Whether the cluster knows a kind."""
        known = await self._call("GET", f"apis/{group_version}", absent=True)
        return known is not None and any(each["name"] == plural for each in known["resources"])

    async def minor(self) -> int:
        """The cluster's minor version; some add a `+` to it."""
        known = await self._call("GET", "version")
        digits = "".join(filter(str.isdigit, str((known or {}).get("minor", ""))))
        return int(digits or 0)

    async def versions(self, kind: str, *, namespace: str) -> dict[str, str]:
        """resourceVersion by `namespace/name`, of all objects of a kind."""
        listed = await self._call("GET", _path(kind, namespace)) or {}
        metas = [each["metadata"] for each in listed.get("items", [])]
        return {f"{meta['namespace']}/{meta['name']}": meta["resourceVersion"] for meta in metas}

    async def apply(self, wanted: planning.Wanted, *, there: bool) -> Json:
        """Bring an object to what is wanted. A Deployment that is not there yet begins with its first replicas, which
        another manager sets, so that no later apply takes them away."""
        body = wanted.body
        kind, meta = body["kind"], body["metadata"]
        path = _path(kind, meta["namespace"], meta["name"])
        if wanted.first_replicas is not None and not there:
            first = body | {"spec": body["spec"] | {"replicas": wanted.first_replicas}}
            await self._created(_path(kind, meta["namespace"]), first)
        return await self._written("PATCH", path, body, {"fieldManager": MANAGER, "force": "true"}, form="apply")

    async def write_status(self, resource: resources.EmbeddingModel, status: resources.Status) -> Json:
        """The status subresource, and nothing else of the resource."""
        meta = resource.metadata
        body = {
            "apiVersion": resources.API_VERSION,
            "kind": resources.KIND,
            "metadata": {"name": meta.name, "namespace": meta.namespace},
            "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        path = _path(resources.KIND, meta.namespace, meta.name) + "/status"
        return await self._written("PATCH", path, body, {"fieldManager": MANAGER, "force": "true"}, form="apply")

    async def delete(self, kind: str, *, namespace: str, name: str) -> None:
        """Gone, with what it owns, soon."""
        await self._call("DELETE", _path(kind, namespace, name), {"propagationPolicy": "Background"}, absent=True)

    async def tell(self, resource: resources.EmbeddingModel, event: planning.Event, *, at: str) -> None:
        """An event of the resource."""
        meta = resource.metadata
        about = {"apiVersion": resources.API_VERSION, "kind": resources.KIND}
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta.name}.", "namespace": meta.namespace},
            "involvedObject": {**about, "name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "type": event.kind,
            "reason": event.reason,
            "message": event.message[:1024],
            "source": {"component": MANAGER},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        await self._written("POST", _path("Event", meta.namespace), body, {})

    async def replace(self, body: Json) -> bool:
        """Create, or replace by the resourceVersion in it; False where somebody else was first."""
        meta = body["metadata"]
        named = meta.get("resourceVersion") is not None
        path = _path(body["kind"], meta["namespace"], meta["name"] if named else "")
        try:
            await self._written("PUT" if named else "POST", path, body, {"fieldManager": MANAGER})
        except Refused as refused:
            if refused.code in {404, 409}:
                return False
            raise
        return True

    async def _created(self, path: str, body: Json) -> None:
        try:
            await self._written("POST", path, body, {"fieldManager": FIRST_MANAGER})
        except Refused as refused:
            if refused.code != httpx2.codes.CONFLICT:
                raise

    async def _written(self, method: str, path: str, body: Json, query: Mapping[str, str], *, form: str = "") -> Json:
        kind = "application/apply-patch+yaml" if form == "apply" else "application/json"
        answer = await self._call(method, path, query, content=json.dumps(body).encode(), kind=kind)
        return answer or {}

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        content: bytes | None = None,
        kind: str = "application/json",
        absent: bool = False,
    ) -> Json | None:
        headers = {"Content-Type": kind, "Accept": "application/json"}
        bearer = self._access.bearer()
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        url = f"{self._access.server.rstrip('/')}/{path}"
        try:
            response = await self._http.request(
                method, url, params=dict(query or {}), content=content, headers=headers, timeout=TIMEOUT_SECONDS
            )
        except httpx2.TransportError as error:
            raise _away(error.__class__.__name__) from error
        if absent and response.status_code == httpx2.codes.NOT_FOUND:
            return None
        return _read(response)


def _read(response: httpx2.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        body = {}
    if response.is_success:
        return body if isinstance(body, dict) else {}
    message = str(body.get("message", "")) if isinstance(body, dict) else ""
    if response.status_code >= 500 or response.status_code in {401, 429}:
        raise _away(f"{response.status_code} {message}")
    raise Refused(response.status_code, message)


def _away(why: str) -> errors.TransientError:
    return errors.TransientError(Reason.OVERLOADED, f"The Kubernetes API does not answer as it should ({why}).")


def _path(kind: str, namespace: str, name: str = "") -> str:
    api, plural = PATHS[kind]
    return f"{api}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")
