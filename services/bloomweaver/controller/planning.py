"""From what is wished and what is there to what has to be done: `plan(world)`, pure.

Invariants: equal worlds give equal plans; a plan that was carried out gives a plan that asks for nothing more; a store
that cannot be asked changes nothing, so an outage never looks like an empty collection; `replicas` are never written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bloomweaver.controller import conditions, draining, manifests, observed, resources, revisions, rollout

RESYNC_SECONDS: Final = 300.0
PROGRESS_SECONDS: Final = 15.0
BYTES_PER_NUMBER: Final = 4

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that has to be there. first_replicas: what a new Deployment begins with; never applied again."""

    body: Json
    first_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person wants to read in `kubectl describe`."""

    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. requeue_seconds: when to look again, if nothing happens before."""

    objects: tuple[Wanted, ...]
    deletions: tuple[observed.Owned, ...]
    actions: tuple[rollout.Action, ...]
    status: resources.Status
    events: tuple[Event, ...]
    requeue_seconds: float


def plan(world: observed.World) -> Plan:
    """See the module's docstring."""
    resource = world.resource
    target, pin_trouble = rollout.target_of(resource)
    members = _members(world, target)
    decisions = [rollout.decide(kept, target=target, spec=resource.spec) for kept in members]
    in_use = _in_use(world, members, target)
    reindex = rollout.reindex_of(members, target=target)
    at = conditions.Situation(
        world=world,
        trouble=revisions.trouble_of(target.model, image_volumes=world.capabilities.image_volumes),
        target=target,
        decisions=decisions,
        live=[world.observed.workload(manifests.name_of(resource, revision)) for revision in in_use],
        waiting=sum(world.observed.waiting.get(revision.space, 0) for revision in in_use),
        reindex=reindex,
        estimate=_estimate(world, reindex, target),
        pin_trouble=pin_trouble,
        scaled_by=_scaled_by(world),
    )
    if world.observed.troubles:
        return _held(world, at)
    suspended, blocked = resource.spec.suspend, conditions.blocked(at)
    halted = suspended or blocked
    drain_seconds = _drain_seconds(world, in_use)
    wanted = () if halted else _wanted(world, in_use, scaled_by=at.scaled_by, drain_seconds=drain_seconds)
    status = _status(world, at, members, drain_seconds=drain_seconds)
    return Plan(
        objects=wanted,
        deletions=() if blocked and not suspended else _deletions(world, wanted),
        actions=() if halted else tuple(decision.action for decision in decisions if decision.action is not None),
        status=status,
        events=_events(resource, status),
        requeue_seconds=PROGRESS_SECONDS if reindex is not None else RESYNC_SECONDS,
    )


def _held(world: observed.World, at: conditions.Situation) -> Plan:
    """Say why, and leave everything as it is."""
    before = world.resource.status
    status = before.model_copy(update={"conditions": conditions.of(at), **_observed(world, at)})
    return Plan((), (), (), status, _events(world.resource, status), PROGRESS_SECONDS)


def _members(world: observed.World, target: resources.Revision) -> list[observed.Kept]:
    """The collections that follow this resource: those that are searched in one of its revisions."""
    spaces = {target.space, *(revision.space for revision in rollout.known(world.resource.status))}
    return [kept for kept in world.observed.collections if kept.generation.active.space in spaces]


def _in_use(
    world: observed.World, members: Sequence[observed.Kept], target: resources.Revision
) -> list[resources.Revision]:
    """The target, and whatever some collection is still kept in."""
    kept_in = {pipeline.space for kept in members for pipeline in kept.generation.pipelines}
    others = [each for each in rollout.known(world.resource.status) if each.space in kept_in]
    return list({revision.hash: revision for revision in (*others, target)}.values())


def _scaled_by(world: observed.World) -> str:
    driver = world.resource.spec.scaling.driver
    return "HPA" if driver == "KEDA" and not world.capabilities.keda else driver


def _drain_seconds(world: observed.World, in_use: Sequence[resources.Revision]) -> int:
    found = [world.observed.measured.get(revision.space) for revision in in_use]
    longest = max((each.work_seconds for each in found if each is not None), default=0)
    resource = world.resource
    wished, before = resource.spec.scaling.drain_seconds, resource.status.drain_seconds
    return draining.drain_seconds(wished, work_seconds=longest, before=before)


def _wanted(
    world: observed.World, in_use: Sequence[resources.Revision], *, scaled_by: str, drain_seconds: int
) -> tuple[Wanted, ...]:
    first = world.resource.spec.scaling.min_replicas if scaled_by == "KEDA" else None
    return tuple(
        Wanted(body, first if body["kind"] == "Deployment" else None)
        for revision in in_use
        for body in manifests.objects(world, revision, scaled_by=scaled_by, drain_seconds=drain_seconds)
    )


def _deletions(world: observed.World, wanted: Sequence[Wanted]) -> tuple[observed.Owned, ...]:
    """What is owned and not wanted."""
    there = {(each.body["kind"], each.body["metadata"]["name"]) for each in wanted}
    return tuple(each for each in world.observed.owned if (each.kind, each.name) not in there)


def _status(
    world: observed.World, at: conditions.Situation, members: Sequence[observed.Kept], *, drain_seconds: int
) -> resources.Status:
    before, target = world.resource.status, at.target
    if conditions.blocked(at):
        return before.model_copy(update={"conditions": conditions.of(at), **_observed(world, at)})
    active, previous = _moved(before, members, target=target, now=world.now)
    kept_in = {pipeline.space for kept in members for pipeline in kept.generation.pipelines}
    if previous is not None and (previous.hash == active.hash or previous.space not in kept_in):
        previous = None
    candidate = None if active.hash == target.hash else _counted(target, members)
    return resources.Status(
        active_revision=_counted(active, members),
        candidate_revision=candidate,
        previous_revision=None if previous is None else _counted(previous, members),
        reindex=at.reindex,
        chunks_per_second=world.observed.chunks_per_second(target.space),
        drain_seconds=drain_seconds,
        conditions=conditions.of(at),
        **_observed(world, at),
    )


def _observed(world: observed.World, at: conditions.Situation) -> dict[str, int]:
    return {
        "observed_generation": world.resource.metadata.generation,
        "replicas": sum(workload.replicas for workload in at.live),
        "ready_replicas": sum(workload.ready for workload in at.live),
    }


def _moved(
    before: resources.Status, members: Sequence[observed.Kept], *, target: resources.Revision, now: float
) -> tuple[resources.Revision, resources.Revision | None]:
    """(active, previous): the target is active when no collection is searched in another revision any more."""
    active = before.active_revision
    if active is not None and active.hash != target.hash:
        if any(kept.generation.active.space != target.space for kept in members):
            return active, before.previous_revision
        return target.model_copy(update={"since": conditions.timestamp(now)}), active
    if active is not None:  # the same, though its weights may lie elsewhere now
        return target.model_copy(update={"since": active.since}), before.previous_revision
    return target.model_copy(update={"since": conditions.timestamp(now)}), before.previous_revision


def _counted(revision: resources.Revision, members: Sequence[observed.Kept]) -> resources.Revision:
    number = sum(1 for kept in members if kept.generation.active.space == revision.space)
    return revision.model_copy(update={"collections": number})


def _estimate(world: observed.World, reindex: resources.Reindex | None, target: resources.Revision) -> str:
    """What a re-index costs, as far as it is known: at least one chunk a document."""
    if reindex is None:
        return ""
    left = max(0, reindex.total - reindex.done - reindex.failed)
    size = left * target.model.dimensions * BYTES_PER_NUMBER
    told = f"{reindex.collections} collections, {left} documents to go, at least {size // 2**20} MiB of vectors"
    speed = world.observed.chunks_per_second(target.space) * world.resource.spec.scaling.max_replicas
    return f"{told}, {left // speed} s at full size or more." if speed else f"{told}."


def _events(resource: resources.EmbeddingModel, status: resources.Status) -> tuple[Event, ...]:
    made = []
    before = {condition.type: condition for condition in resource.status.conditions}
    for condition in status.conditions:
        old = before.get(condition.type)
        if condition.type != "Ready" or (old is not None and old.reason == condition.reason):
            continue
        made.append(Event("Normal" if condition.status == "True" else "Warning", condition.reason, condition.message))
    old_active, active = resource.status.active_revision, status.active_revision
    if old_active is not None and active is not None and old_active.hash != active.hash:
        back = resource.status.previous_revision is not None and resource.status.previous_revision.hash == active.hash
        message = f"{active.model.name} ({active.hash}) is searched instead of {old_active.hash}."
        made.append(Event("Normal", "RolledBack" if back else "Promoted", message))
    if status.candidate_revision is not None and resource.status.candidate_revision is None:
        made.append(Event("Normal", "ReindexStarted", f"Towards {status.candidate_revision.hash}."))
    return tuple(made)
