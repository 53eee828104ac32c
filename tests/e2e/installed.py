"""The release that the tests look at: `helm install`, and what a client in the cluster asks of it."""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import helm_python

from tests.e2e import cluster as clusters
from tests.e2e import preparing, telling
from tests.support import charts

OURS: Final = f"app.kubernetes.io/instance={preparing.RELEASE}"
EMBEDDERS: Final = "app.kubernetes.io/managed-by=bloomweaver-controller"
WRITERS: Final = f"{OURS},app.kubernetes.io/component=writer"
WAITING: Final = ("pending", "indexing", "updating")
HELM_SECONDS: Final = 600

Object = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """Everything that happened to pods, Deployments and ScaledObjects, with the time at which it was heard."""

    events: list[tuple[float, str, Object]] = field(default_factory=list)

    def first(self, kind: str, *, since: float, where: Any = lambda _: True) -> float | None:
        """When the first event since then was heard whose object fits."""
        for at, _, body in list(self.events):
            if at >= since and body.get("kind") == kind and where(body):
                return at
        return None

    def most(self, name: str, *, since: float) -> int:
        """The largest number of replicas of a Deployment that was seen."""
        sizes = (
            body.get("status", {}).get("replicas", 0)
            for at, _, body in list(self.events)
            if at >= since and body.get("kind") == "Deployment" and body["metadata"]["name"] == name
        )
        return max(sizes, default=0)


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is there. key: with every verb, of a tenant of its own."""

    cluster: clusters.Cluster
    key: str

    def inside(self, *command: str, seconds: float = 600.0) -> str:
        """What a command prints in the client's pod."""
        return self.cluster.run(preparing.CLIENT, *self._environment(), *command, seconds=seconds)

    def attempt(
        self, *command: str, seconds: float = 600.0, listen: Callable[[bytes], None] = lambda _: None
    ) -> clusters.Done:
        """The same, however it ends. listen: told what it prints, as it comes."""
        environment = self._environment()
        return self.cluster.attempt(preparing.CLIENT, *environment, *command, seconds=seconds, listen=listen)

    def call(self, service: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Object:
        """One call of the API: status, at, took, body."""
        given = [] if body is None else [json.dumps(body)]
        told: Object = json.loads(self.inside("python", "/e2e/call.py", service, method, path, *given))
        return told

    def search(self, query: str, collection: str, *, limit: int = 10) -> list[Object]:
        """Hits."""
        body = {"query": query, "collections": [collection], "limit": limit}
        answer = self.call("search", "POST", "/v1/search", body)
        assert answer["status"] == 200, answer
        hits: list[Object] = answer["body"]["hits"]
        return hits

    def audit(self) -> Object:
        """What `bloomweaver audit` finds, as soon as there is a reconciler that answers."""

        def asked() -> Object | None:
            url = f"http://{preparing.RELEASE}-reconciler:8084"
            done = self.attempt("bloomweaver", "audit", "--json", "--url", url)
            found: Object = json.loads(done.out or "{}")
            return found if "clean" in found else None

        return clusters.until("an audit", asked, state=self.told)

    def embedders(self) -> list[Object]:
        """Their Deployments."""
        return self.cluster.all("Deployment", EMBEDDERS)

    def asleep(self) -> bool:
        """Whether no embedder and no writer runs; but for the one that removes what is superseded, a while later."""
        writers = f"{WRITERS},bloomweaver.dev/process!=writer-delete"
        workers = [*self.embedders(), *self.cluster.all("Deployment", writers)]
        pods = [*self.cluster.all("Pod", EMBEDDERS), *self.cluster.all("Pod", writers)]
        return not pods and all(not each["spec"].get("replicas") for each in workers)

    def until_ready(self) -> None:
        """Everything that is wished is there and ready."""

        def ready() -> bool | None:
            bodies = self.cluster.all("Deployment", OURS)
            return all(each["status"].get("readyReplicas", 0) >= each["spec"]["replicas"] for each in bodies) or None

        clusters.until("every pod ready", ready, state=self.told)

    def until_asleep(self) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        clusters.until("every embedder and writer at zero", lambda: self.asleep() or None, state=self.told)
        return time.monotonic() - began

    def condition(self, name: str, kind: str = "Ready") -> Object:
        """A condition of a resource; empty where it has none yet."""
        body = self.cluster.get("EmbeddingModel", name) or {}
        conditions = body.get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def told(self) -> str:
        """How everything is, for the message of a failure."""
        return telling.told(self.cluster)

    @contextmanager
    def watching(self) -> Iterator[Seen]:
        """Listen to what happens, until the context ends."""
        seen, ended = Seen(), threading.Event()

        def listen(kind: str) -> None:
            for at, change, body in self.cluster.changes(kind, ended):
                seen.events.append((at, change, {"kind": kind, **body}))

        threads = [
            threading.Thread(target=listen, args=(kind,), daemon=True) for kind in ("Pod", "Deployment", "ScaledObject")
        ]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            ended.set()

    @contextmanager
    def loaded(self, collection: str) -> Iterator["Load"]:
        """Clients that write without pause while the context lasts."""
        load = Load(self, collection)
        try:
            load.begin()
            yield load
        finally:
            load.end()

    def _environment(self) -> tuple[str, ...]:
        return ("env", f"BLOOMWEAVER_API_KEY={self.key}", f"RELEASE={preparing.RELEASE}")


class Load:
    """summary: what the clients did, once they have ended."""

    def __init__(self, release: Release, collection: str) -> None:
        self._release = release
        self._collection = collection
        self._folder = f"/data/{collection}-{secrets.token_hex(4)}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: Exception | None = None
        self._acknowledged = 0
        self.summary: Object = {}

    def begin(self) -> None:
        """Until the first call was acknowledged."""
        self._release.call("webhook", "PUT", f"/v1/collections/{self._collection}", {})
        self._thread.start()
        self.progress(more=1)

    def progress(self, *, more: int) -> None:
        """Wait until so many more calls were acknowledged."""
        before = self._acknowledged

        def looked() -> bool | None:
            if self._failure is not None:
                raise self._failure
            return self._acknowledged >= before + more or None

        clusters.until(f"{more} more calls acknowledged", looked, state=self._release.told)

    def end(self) -> None:
        """No more calls; all that were begun are acknowledged."""
        self._release.attempt("touch", f"{self._folder}/stop")
        self._thread.join(400)
        if self._failure is not None:
            raise self._failure

    def settled(self) -> Object:
        """Wait until nothing is pending; then what is other than was promised, and the audit."""

        def settled() -> Object | None:
            counts = self._release.call("webhook", "GET", "/v1/status")["body"]["counts"]
            if any(counts[state] for state in WAITING):
                return None
            audit = self._release.audit()
            return audit if not audit["pending"] else None

        self._release.until_ready()
        audit = clusters.until("nothing on its way", settled, state=self._release.told)
        out = self._release.inside("python", "/e2e/load.py", self._collection, self._folder, "--check")
        checked: Object = json.loads(out)
        return {"audit": audit, **checked}

    def _run(self) -> None:
        command = ("python", "/e2e/load.py", self._collection, self._folder)
        try:
            done = self._release.attempt(*command, seconds=1800, listen=self._listen)
            if not done.well:
                raise clusters.Failed(f"{done.status}\n{done.out[-1000:]}\n{done.err[-4000:]}")
            self.summary = json.loads(done.out.strip().splitlines()[-1])
        except (clusters.Failed, OSError, ValueError, IndexError, AssertionError) as error:
            self._failure = error

    def _listen(self, printed: bytes) -> None:
        numbers = [int(line) for line in printed.split() if line.isdigit()]
        self._acknowledged = max([self._acknowledged, *numbers])


def space_of_tiny(release: Release) -> str:
    """The vector space of the tiny model, as the documentation has it found out."""
    script = (
        "import asyncio, pathlib; from bloomweaver.adapters import opening; "
        f"print(asyncio.run(opening.resolved_model('{preparing.TINY}', models_dir=pathlib.Path('/')))[1])"
    )
    return release.inside("python", "-c", script).strip().splitlines()[-1]


def helm(cluster: clusters.Cluster) -> helm_python.Config:
    """Helm, for the namespace."""
    return helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace=cluster.namespace)


def made(cluster: clusters.Cluster) -> Release:
    """A release in a namespace that is not there yet, its client, and a key."""
    preparing.make_namespace(cluster)
    preparing.make_claim(cluster)
    preparing.make_client(cluster)
    install(cluster, preparing.values())
    return Release(cluster, first_key(cluster))


@contextmanager
def obtained(cluster: clusters.Cluster) -> Iterator[Release]:
    """Installed from nothing and removed; where BLOOMWEAVER_E2E_KEEP is set left there, and taken the next time."""
    kept = bool(os.environ.get("BLOOMWEAVER_E2E_KEEP"))
    if kept and cluster.get("Pod", preparing.CLIENT) is not None:
        yield Release(cluster, first_key(cluster))
        return
    remove(cluster)
    preparing.provide_images()
    yield made(cluster)
    if not kept:
        remove(cluster)


def install(cluster: clusters.Cluster, given: Object) -> None:
    """`helm install --wait`; a failure says how the pods are."""
    with _explained(cluster), helm(cluster) as config:
        config.install(charts.CHART, preparing.RELEASE, given, wait="watcher", timeout=HELM_SECONDS)


def upgrade(cluster: clusters.Cluster, given: Object) -> None:
    """`helm upgrade --wait`, with these values alone."""
    with _explained(cluster), helm(cluster) as config:
        config.upgrade(charts.CHART, preparing.RELEASE, given, wait="watcher", timeout=HELM_SECONDS, reset_values=True)


@contextmanager
def _explained(cluster: clusters.Cluster) -> Iterator[None]:
    try:
        yield
    except helm_python.HelmError as error:
        raise AssertionError(f"{error}\n{telling.told(cluster)}") from error


def remove(cluster: clusters.Cluster) -> None:
    """The namespace and everything in it. The resource's definition stays, and Helm brings it to what it has to be."""
    namespace = f"api/v1/namespaces/{cluster.namespace}"
    if cluster.exists(namespace):
        cluster.call("DELETE", namespace)
        clusters.until("the namespace gone", lambda: not cluster.exists(namespace) or None)


def first_key(cluster: clusters.Cluster, tenant: str = "e2e") -> str:
    """A key with every verb, made as the notes of the chart tell."""
    pod = next(each for each in cluster.all("Pod", f"{OURS},app.kubernetes.io/component=search") if telling.ready(each))
    verbs = [part for verb in ("read", "write", "admin") for part in ("--verb", verb)]
    command = ("bloomweaver", "keys", "create", "e2e", "--tenant", tenant, *verbs)
    return cluster.run(pod["metadata"]["name"], *command).strip().splitlines()[-1]
