"""From the informer's cache to what the planner is told: pods into workloads, other resources into rivals. Pure."""

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, Final

import pydantic

from bloomweaver.controller import cache, manifests, observed, resources, rollout
from bloomweaver.domain.measured import Measured

RESTARTS: Final = 3
FAILING: Final = frozenset({
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerError",
    "RunContainerError",
})  # fmt: skip
NOT_FOUND: Final = re.compile(r'(persistentvolumeclaim|secret|configmap) "([^"]+)" not found')
KINDS: Final = {"persistentvolumeclaim": "PersistentVolumeClaim", "secret": "Secret", "configmap": "ConfigMap"}

Json = cache.Json


def observed_of(
    resource: resources.EmbeddingModel,
    cluster: cache.Cache,
    *,
    collections: tuple[observed.Kept, ...],
    waiting: dict[str, int],
    troubles: dict[str, str],
    measured: dict[str, Measured],
) -> observed.Observed:
    """Everything of one resource."""
    key = f"{resource.metadata.namespace}/{resource.metadata.name}"
    owned = list(cluster.owned(key))
    deployments = [body for kind, body in owned if kind == "Deployment"]
    pods = {
        body["metadata"]["name"]: cluster.pods(key, revision=body["metadata"]["labels"].get(manifests.REVISION, ""))
        for body in deployments
    }
    return observed.Observed(
        workloads=tuple(_workload(body, pods[body["metadata"]["name"]]) for body in deployments),
        owned=tuple(observed.Owned(kind, body["metadata"]["name"]) for kind, body in owned),
        collections=collections,
        waiting=waiting,
        rivals=tuple(_rivals(resource, cluster)),
        missing=tuple(sorted({name for several in pods.values() for pod in several for name in _missing(pod)})),
        troubles=troubles,
        measured=measured,
    )


def _workload(deployment: Json, pods: Iterable[Json]) -> observed.Workload:
    status = deployment.get("status", {})
    refused = [
        each.get("message", "")
        for each in status.get("conditions", [])
        if each["type"] == "ReplicaFailure" and each["status"] == "True"
    ]
    failing = [why for pod in pods if (why := _failing(pod))]
    unplaced = sorted((since, why) for pod in pods for since, why in _unplaced(pod))
    since, why = unplaced[0] if unplaced else (None, "")
    return observed.Workload(
        name=deployment["metadata"]["name"],
        replicas=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        pending_since=since,
        pending_reason=why,
        creating_since=min((at for pod in pods for at in _creating(pod)), default=None),
        failing=failing[0] if failing else "",
        refused=refused[0] if refused else "",
    )


def _failing(pod: Json) -> str:
    for status in pod.get("status", {}).get("containerStatuses", []):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in FAILING and not (
            waiting["reason"] == "CrashLoopBackOff" and status.get("restartCount", 0) < RESTARTS
        ):
            ended = status.get("lastState", {}).get("terminated", {})
            code = f", last with code {ended['exitCode']}" if "exitCode" in ended else ""
            return f"{waiting['reason']}, ended {status.get('restartCount', 0)} times{code}"
    return ""


def _unplaced(pod: Json) -> Iterable[tuple[float, str]]:
    if pod.get("status", {}).get("phase") == "Pending":
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                yield _seconds(condition["lastTransitionTime"]), condition.get("message", "")


def _creating(pod: Json) -> Iterable[float]:
    """Since when a placed pod waits for its volumes and images: nothing else in its status tells of a lost Secret."""
    status = pod.get("status", {})
    waiting = [each.get("state", {}).get("waiting", {}).get("reason") for each in status.get("containerStatuses", [])]
    if status.get("phase") == "Pending" and "ContainerCreating" in waiting:
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "True":
                yield _seconds(condition["lastTransitionTime"])


def _missing(pod: Json) -> Iterable[str]:
    status = pod.get("status", {})
    told = [each.get("message", "") for each in status.get("conditions", [])]
    told += [
        each.get("state", {}).get("waiting", {}).get("message", "") for each in status.get("containerStatuses", [])
    ]
    for kind, name in NOT_FOUND.findall(" ".join(told)):
        yield f"{KINDS[kind]} {name}"


def _rivals(resource: resources.EmbeddingModel, cluster: cache.Cache) -> Iterable[str]:
    """Older resources that want the same space; of equally old ones the first by name."""
    space, age = rollout.target_of(resource)[0].space, _age(resource)
    for claim in cluster.of_each(_claim):
        if claim is not None and space and claim[0] == space and claim[1] < age:
            yield f"{claim[1][1]}/{claim[1][2]}"


def _claim(body: Json) -> tuple[str, tuple[str, str, str]] | None:
    """The space that a resource wants, and its age; None of one that cannot be read: of an older definition maybe."""
    try:
        read = resources.read(dict(body))
    except pydantic.ValidationError:
        return None
    return rollout.target_of(read)[0].space, _age(read)


def _age(resource: resources.EmbeddingModel) -> tuple[str, str, str]:
    meta = resource.metadata
    return meta.creation_timestamp, meta.namespace, meta.name


def _seconds(timestamp: Any) -> float:
    return dt.datetime.fromisoformat(str(timestamp)).timestamp()
