"""A cluster as the tests see it: plain HTTP to its API server, and commands inside pods by its own websocket.

Needs a kubeconfig with a token or a certificate, and no program: neither kubectl nor helm.
"""

import contextlib
import json
import os
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx2
from websockets import exceptions, typing
from websockets.sync import client

from bloomweaver.controller import access

Object = dict[str, Any]
T = TypeVar("T")

PATIENCE_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.3
MANAGER: Final = "bloomweaver-e2e"
STDOUT, STDERR, STATUS = 1, 2, 3
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "Pod": ("api/v1", "pods"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Event": ("api/v1", "events"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "Job": ("apis/batch/v1", "jobs"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "EmbeddingModel": ("apis/bloomweaver.dev/v1alpha1", "embeddingmodels"),
}


class Refused(Exception):
    """The API server will not do it: code and what it says."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Failed(Exception):
    """A command in a pod ended with another code than 0."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command in a pod printed. status: as the API server tells it; empty where the pod went away."""

    out: str
    err: str
    status: Object

    @property
    def well(self) -> bool:
        """Whether it ended with code 0."""
        return self.status.get("status") == "Success"


def until(
    what: str, look: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS, state: Callable[[], object] = str
) -> T:
    """What `look` gives once it is neither None nor False. state: told when it never was."""
    began = time.monotonic()
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() - began > seconds:
            raise AssertionError(f"{what}: not within {seconds:.0f} s. {state()}")
        time.sleep(LOOK_SECONDS)


class Cluster:
    """One namespace of a cluster."""

    def __init__(self, kubeconfig: str, *, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._access = access.of(kubeconfig)
        verified = self._access.verified()
        self._context = verified if isinstance(verified, ssl.SSLContext) else None
        # A cluster that was just woken may take its time; nothing here is about speed.
        self._http = httpx2.Client(verify=verified, timeout=60.0, base_url=self._access.server)

    def close(self) -> None:
        """No more calls."""
        self._http.close()

    def reachable(self) -> str:
        """Why it cannot be asked; empty where it can."""
        try:
            self.call("GET", "version")
        except (httpx2.HTTPError, Refused) as error:
            return f"{error.__class__.__name__}"
        return ""

    def serves(self, group_version: str) -> bool:
        """Whether it knows an API."""
        return self.exists(f"apis/{group_version}")

    def exists(self, path: str) -> bool:
        """Whether there is something."""
        return self._request("GET", path).status_code == httpx2.codes.OK

    def get(self, kind: str, name: str) -> Object | None:
        """The object, or None."""
        try:
            return self.call("GET", self._path(kind, name))
        except Refused as refused:
            if refused.code == httpx2.codes.NOT_FOUND:
                return None
            raise

    def there(self, kind: str, name: str) -> Object:
        """The object, which has to be there."""
        return self.call("GET", self._path(kind, name))

    def all(self, kind: str, labels: str = "") -> list[Object]:
        """Those that have the labels, as of a selector."""
        query = {"labelSelector": labels} if labels else {}
        items: list[Object] = self.call("GET", self._path(kind), query=query)["items"]
        return items

    def apply(self, body: Object) -> Object:
        """As `kubectl apply --server-side`."""
        return self.apply_at(self._path(body["kind"], body["metadata"]["name"]), body)

    def apply_at(self, path: str, body: Object) -> Object:
        """The same, for what is in no namespace as well."""
        query = {"fieldManager": MANAGER, "force": "true"}
        return self.call("PATCH", path, query=query, body=body, form="application/apply-patch+yaml")

    def create(self, body: Object, *, dry_run: bool = False) -> Object:
        """As `kubectl create`: a field that is unknown is an error."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return self.call("POST", self._path(body["kind"]), query=query, body=body)

    def cordon(self, node: str, *, cordoned: bool) -> None:
        """Whether pods may be placed on a node."""
        change = {"spec": {"unschedulable": cordoned}}
        self.call("PATCH", f"api/v1/nodes/{node}", body=change, form="application/merge-patch+json")

    def patch(self, kind: str, name: str, change: Object) -> Object:
        """As `kubectl patch --type merge`."""
        return self.call("PATCH", self._path(kind, name), body=change, form="application/merge-patch+json")

    def delete(self, kind: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Gone soon; 0 s of grace is a kill. What is not there is no error."""
        query = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            query["gracePeriodSeconds"] = str(grace_seconds)
        try:
            self.call("DELETE", self._path(kind, name), query=query)
        except Refused as refused:
            if refused.code != httpx2.codes.NOT_FOUND:
                raise

    def evict(self, pod: str) -> bool:
        """As a drain does; False where a budget says no."""
        meta = {"name": pod, "namespace": self.namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
        try:
            self.call("POST", f"{self._path('Pod', pod)}/eviction", body=body)
        except Refused as refused:
            if refused.code == httpx2.codes.TOO_MANY_REQUESTS:
                return False
            if refused.code != httpx2.codes.NOT_FOUND:
                raise
        return True

    def log(self, pod: str, *, previous: bool = False, lines: int = 40) -> str:
        """The end of a pod's log."""
        query = {"tailLines": str(lines)} | ({"previous": "true"} if previous else {})
        return self._request("GET", f"{self._path('Pod', pod)}/log", query=query).text

    def changes(self, kind: str, ended: threading.Event) -> Iterator[tuple[float, str, Object]]:
        """(when it was heard, type, object) of everything that happens to a kind, until the event is set."""
        version = self.call("GET", self._path(kind))["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "600"}
        url = f"/{self._path(kind)}"
        with self._http.stream("GET", url, params=query, headers=self._headers(), timeout=600.0) as answer:
            for line in answer.iter_lines():
                if ended.is_set():
                    return
                event = json.loads(line)
                yield time.time(), event["type"], event["object"]

    def run(self, pod: str, *command: str, seconds: float = 600.0) -> str:
        """What a command in a pod prints; Failed where it ends badly."""
        done = self.attempt(pod, *command, seconds=seconds)
        if not done.well:
            raise Failed(f"{' '.join(command)[:200]}: {done.status}\n{done.out[-4000:]}\n{done.err[-4000:]}")
        return done.out

    def attempt(
        self, pod: str, *command: str, seconds: float = 600.0, listen: Callable[[bytes], None] = lambda _: None
    ) -> Done:
        """The same, however it ends. listen: told what it prints, as it comes."""
        heard: dict[int, list[bytes]] = {STDOUT: [], STDERR: [], STATUS: []}
        ended = time.monotonic() + seconds
        with self._attached(pod, command) as socket, contextlib.suppress(exceptions.ConnectionClosed):
            while True:
                message = socket.recv(timeout=max(0.0, ended - time.monotonic()))
                if isinstance(message, bytes) and message:
                    heard.setdefault(message[0], []).append(message[1:])
                    if message[0] == STDOUT:
                        listen(message[1:])
        out, err, status = (b"".join(heard[channel]).decode() for channel in (STDOUT, STDERR, STATUS))
        return Done(out, err, json.loads(status) if status else {})

    def _attached(self, pod: str, command: Sequence[str]) -> client.ClientConnection:
        query = [("command", part) for part in command] + [("stdout", "true"), ("stderr", "true")]
        server = self._access.server.rstrip("/").replace("http", "ws", 1)
        url = f"{server}/{self._path('Pod', pod)}/exec?{urllib.parse.urlencode(query)}"

        def connected() -> client.ClientConnection | None:
            # A busy node drops connections before it has begun anything; and the library's two threads on one TLS
            # connection can end its handshake with an error of OpenSSL's, which is told as a connection that closed.
            with contextlib.suppress(exceptions.InvalidMessage, exceptions.ConnectionClosed, OSError):
                return client.connect(
                    url,
                    ssl=self._context,
                    subprotocols=[typing.Subprotocol("v4.channel.k8s.io")],
                    additional_headers=self._headers(),
                    max_size=None,
                    open_timeout=PATIENCE_SECONDS,
                    ping_interval=None,
                )
            return None

        return until(f"a command in pod {pod}", connected)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        form: str = "application/json",
    ) -> Object:
        """The answer; Refused where there is none."""
        answer = self._request(method, path, query=query, body=body, form=form)
        told: Object = answer.json() if answer.content else {}
        if not answer.is_success:
            raise Refused(answer.status_code, str(told.get("message", "")))
        return told

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        form: str = "application/json",
    ) -> httpx2.Response:
        content = None if body is None else json.dumps(body).encode()
        headers = self._headers() | {"Content-Type": form}
        return self._http.request(method, f"/{path}", params=dict(query or {}), content=content, headers=headers)

    def _headers(self) -> dict[str, str]:
        bearer = self._access.bearer()
        return {"Authorization": f"Bearer {bearer}"} if bearer else {}

    def _path(self, kind: str, name: str = "") -> str:
        api, plural = KINDS[kind]
        return f"{api}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")


def here(*, namespace: str) -> Cluster | None:
    """The cluster of KUBECONFIG, or None where that is not set."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    return Cluster(kubeconfig, namespace=namespace) if kubeconfig else None
