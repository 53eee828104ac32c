"""One look at one resource: observe, plan, and carry out what differs.

Invariant: where nothing differs from what the informer has told, nothing is sent. What fails raises; the loop that
called has the resource looked at again, later and later.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from bloomweaver.controller import (
    apply,
    cache,
    conditions,
    differences,
    observed,
    observing,
    planning,
    reindexing,
    resources,
    scaling,
)
from bloomweaver.domain import errors
from bloomweaver.domain.measured import Measured
from bloomweaver.ports import clock as clocks

REMEMBERED_SECONDS: Final = 5.0
MOVED_SECONDS: Final = 1.0

Probe = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the controller looks at and acts on. probes: of stores, by part."""

    cluster: apply.Cluster
    cache: cache.Cache
    board: scaling.Board
    reindexing: reindexing.Reindexing
    setup: observed.Setup
    capabilities: observed.Capabilities
    probes: dict[str, Probe]
    clock: clocks.Clock
    measured: Callable[[], dict[str, Measured]] = dict


@dataclass(frozen=True, slots=True)
class _Stores:
    """What the stores said, and when: asked once for all resources."""

    at: float
    collections: tuple[observed.Kept, ...]
    troubles: dict[str, str]


class Reconciler:
    """See the module's docstring."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._stores: _Stores | None = None

    async def look(self, key: str) -> float | None:
        """Seconds until it has to be looked at again; None where the resource is gone."""
        body = self._around.cache.get(resources.KIND, key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        resource = resources.read(dict(body))
        plan = planning.plan(await self._world(resource))
        try:
            await self._bring(resource, plan)
        except apply.Refused as refused:
            await self._say(resource, _refused(plan, refused))
            raise
        moved = [await self._around.reindexing.carry_out(action) for action in plan.actions]
        await self._say(resource, plan)
        if moved:
            self._stores = None
            return MOVED_SECONDS
        return plan.requeue_seconds

    async def _world(self, resource: resources.EmbeddingModel) -> observed.World:
        around, stores = self._around, await self._asked()
        spaces = {p.space for kept in stores.collections for p in kept.generation.pipelines}
        seen = observing.observed_of(
            resource,
            around.cache,
            collections=stores.collections,
            waiting={space: around.board.waiting(f"change:{space}") for space in spaces},
            troubles=stores.troubles,
            measured=around.measured(),
        )
        return observed.World(
            resource=resource,
            observed=seen,
            setup=around.setup,
            capabilities=around.capabilities,
            now=around.clock.now(),
        )

    async def _asked(self) -> _Stores:
        now = self._around.clock.monotonic()
        if self._stores is None or now - self._stores.at > REMEMBERED_SECONDS:
            troubles = {}
            collections: tuple[observed.Kept, ...] = ()
            for part, probe in self._around.probes.items():
                try:
                    await probe()
                except errors.BloomWeaverError as error:
                    troubles[part] = str(error.reason)
            if "ledger" not in troubles:
                collections = await self._around.reindexing.collections()
            self._stores = _Stores(now, collections, troubles)
        return self._stores

    async def _bring(self, resource: resources.EmbeddingModel, plan: planning.Plan) -> None:
        namespace = resource.metadata.namespace
        for wanted in plan.objects:
            kind, name = wanted.body["kind"], wanted.body["metadata"]["name"]
            live = self._around.cache.get(kind, f"{namespace}/{name}")
            if live is None or not differences.contained(wanted.body, live):
                await self._around.cluster.apply(wanted, there=live is not None)
        for owned in plan.deletions:
            await self._around.cluster.delete(owned.kind, namespace=namespace, name=owned.name)

    async def _say(self, resource: resources.EmbeddingModel, plan: planning.Plan) -> None:
        if plan.status != resource.status:
            await self._around.cluster.write_status(resource, plan.status)
        for event in plan.events:
            await self._around.cluster.tell(resource, event, at=conditions.timestamp(self._around.clock.now()))


def _refused(plan: planning.Plan, refused: apply.Refused) -> planning.Plan:
    """The same, with what the API server said in `Degraded`."""
    told = {"status": "True", "reason": "ApplyRefused", "message": f"{refused.code}: {refused.message}"[:1024]}
    changed = [
        condition.model_copy(update=told) if condition.type == "Degraded" else condition
        for condition in plan.status.conditions
    ]
    return replace(plan, status=plan.status.model_copy(update={"conditions": changed}), events=())
