"""The watches, and nothing else: what changes in the cluster goes into the cache, and its resource into the queue.

The only module that imports kopf, which is used as an informer alone: no handler of changes, no finalizer, no
annotation, no peering. What it saw is checked against a list now and then by `Watchdog`, because a watch can die
without a word. Its handlers are coroutines: kopf runs plain functions in threads, for which neither the cache nor the
queue is made.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import kopf

from bloomweaver.controller import access, cache, manifests, resources

OWNED: Final = (
    ("apps", "v1", "deployments", "Deployment"),
    ("", "v1", "pods", "Pod"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
)
KEDA: Final = (
    ("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject"),
    ("keda.sh", "v1alpha1", "triggerauthentications", "TriggerAuthentication"),
)
MONITORS: Final = (("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor"),)

Kind = tuple[str, str, str, str]


@dataclass(slots=True)
class Watchdog:
    """Finds a watch that died: a resource of which a list has told another version twice than the cache has, and of
    none has the watch told anything in between. One that is only slow is left to come after."""

    cache: cache.Cache
    missed: dict[str, str] = field(default_factory=dict)
    heard: int = 0

    def dead(self, listed: Mapping[str, str]) -> bool:
        """listed: resourceVersion by key."""
        late = {}
        for key, version in listed.items():
            body = self.cache.get(resources.KIND, key)
            if body is None or body["metadata"].get("resourceVersion") != version:
                late[key] = version
        heard = self.cache.heard
        dead = heard == self.heard and any(self.missed.get(key) == version for key, version in late.items())
        self.missed, self.heard = late, heard
        return dead


class Informer:
    """on_change: told the key of each resource that something happened to."""

    def __init__(
        self,
        entered: access.Access,
        cluster: cache.Cache,
        *,
        namespace: str,
        kinds: tuple[Kind, ...],
        on_change: Callable[[str], None],
    ) -> None:
        self._access = entered
        self._cache = cluster
        self._namespace = namespace
        self._kinds = kinds
        self._on_change = on_change

    async def run(self) -> None:
        """Watch until cancelled, or until the process is told to end: kopf takes its signals for itself."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        kopf.on.event(resources.GROUP, resources.VERSION, resources.PLURAL, registry=registry)(self._resource)
        for group, version, plural, kind in self._kinds:
            labels = {manifests.OWNED_BY: kopf.PRESENT}
            watch = kopf.on.event(group, version, plural, id=plural, labels=labels, registry=registry)
            watch(self._owned(kind))
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.peering.standalone = True
        logging.getLogger("kopf").setLevel(logging.WARNING)
        stop = asyncio.Event()
        try:
            await kopf.operator(
                registry=registry,
                settings=settings,
                standalone=True,
                # Else kopf asks for the user's name, and a pod's user has none.
                identity=resources.PLURAL,  # type: ignore[arg-type]  # a NewType of str that kopf does not export
                namespaces=[self._namespace],
                stop_flag=stop,
            )
        finally:
            stop.set()

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:
        pems = self._access.pems
        return kopf.ConnectionInfo(
            server=self._access.server,
            ca_data=pems.authority,
            certificate_data=pems.certificate,
            private_key_data=pems.key,
            token=self._access.bearer() or None,
            default_namespace=self._namespace,
        )

    async def _resource(self, *, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        plain = _plain(body)
        self._cache.note(resources.KIND, plain, gone=type == "DELETED")
        self._on_change(cache.key_of(plain))

    def _owned(self, kind: str) -> Callable[..., Coroutine[Any, Any, None]]:
        async def seen(*, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
            plain = _plain(body)
            self._cache.note(kind, plain, gone=type == "DELETED")
            owner = cache.owner_of(plain)
            if owner is not None:
                self._on_change(owner)

        return seen


def _plain(value: Any) -> Any:
    """kopf's views as plain values: what is kept must not change under its reader."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
