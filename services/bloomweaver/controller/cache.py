"""What the cluster has, as the informer has last told: read by every reconcile, written by the informer alone."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bloomweaver.controller import manifests, resources

OWNED_KINDS: Final = (
    "Deployment",
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "TriggerAuthentication",
    "PodMonitor",
)

Json = Mapping[str, Any]


def key_of(body: Json) -> str:
    """`namespace/name`."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


class Cache:
    """By kind and `namespace/name`."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Json]] = {}

    def note(self, kind: str, body: Json, *, gone: bool) -> None:
        """The informer saw it."""
        known = self._kinds.setdefault(kind, {})
        if gone:
            known.pop(key_of(body), None)
        else:
            known[key_of(body)] = body

    def get(self, kind: str, key: str) -> Json | None:
        """The object, or None."""
        return self._kinds.get(kind, {}).get(key)

    def named(self) -> list[str]:
        """The keys of all resources."""
        return list(self._kinds.get(resources.KIND, {}))

    def resources(self) -> list[Json]:
        """All resources."""
        return list(self._kinds.get(resources.KIND, {}).values())

    def owned(self, key: str) -> Iterator[tuple[str, Json]]:
        """(kind, object) of everything that a resource owns."""
        for kind in OWNED_KINDS:
            yield from ((kind, body) for body in self._kinds.get(kind, {}).values() if owner_of(body) == key)

    def pods(self, key: str, *, revision: str) -> list[Json]:
        """The pods of one revision."""
        pods = (body for body in self._kinds.get("Pod", {}).values() if owner_of(body) == key)
        return [body for body in pods if body["metadata"]["labels"].get(manifests.REVISION) == revision]


def owner_of(body: Json) -> str | None:
    """The key of the resource that an object belongs to."""
    name = body["metadata"].get("labels", {}).get(manifests.OWNED_BY)
    return None if name is None else f"{body['metadata']['namespace']}/{name}"
