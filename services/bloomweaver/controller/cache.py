"""What the cluster has, as the informer has last told: read by every reconcile, written by the informer alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

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
T = TypeVar("T")


def key_of(body: Json) -> str:
    """`namespace/name`."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


class Cache:
    """By kind and `namespace/name`, and by the resource that owns it: a look at one does not go through all.

    heard: how often the informer has told of a resource.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Json]] = {}
        self._owners: dict[str, dict[tuple[str, str], Json]] = {}
        self._remembered: dict[str, Any] = {}
        self.heard = 0

    def note(self, kind: str, body: Json, *, gone: bool) -> None:
        """The informer saw it."""
        known, key, owner = self._kinds.setdefault(kind, {}), key_of(body), owner_of(body)
        mine = {} if owner is None else self._owners.setdefault(owner, {})
        if kind == resources.KIND:
            self._remembered.pop(key, None)
            self.heard += 1
        if gone:
            known.pop(key, None)
            mine.pop((kind, key), None)
        else:
            known[key] = body
            mine[kind, key] = body
        if owner is not None and not mine:
            del self._owners[owner]

    def get(self, kind: str, key: str) -> Json | None:
        """The object, or None."""
        return self._kinds.get(kind, {}).get(key)

    def named(self) -> list[str]:
        """The keys of all resources."""
        return list(self._kinds.get(resources.KIND, {}))

    def of_each(self, work: Callable[[Json], T]) -> list[T]:
        """What `work` finds in each resource; done once for each version of it. Always the same `work`."""
        bodies = self._kinds.get(resources.KIND, {})
        for key, body in bodies.items():
            if key not in self._remembered:
                self._remembered[key] = work(body)
        return [self._remembered[key] for key in bodies]

    def owned(self, key: str) -> Iterator[tuple[str, Json]]:
        """(kind, object) of everything that a resource owns."""
        mine = sorted(self._owners.get(key, {}).items(), key=lambda one: one[0])
        for wanted in OWNED_KINDS:
            yield from ((kind, body) for (kind, _), body in mine if kind == wanted)

    def pods(self, key: str, *, revision: str) -> list[Json]:
        """The pods of one revision."""
        pods = (body for (kind, _), body in self._owners.get(key, {}).items() if kind == "Pod")
        return [body for body in pods if body["metadata"]["labels"].get(manifests.REVISION) == revision]


def owner_of(body: Json) -> str | None:
    """The key of the resource that an object belongs to."""
    name = body["metadata"].get("labels", {}).get(manifests.OWNED_BY)
    return None if name is None else f"{body['metadata']['namespace']}/{name}"
