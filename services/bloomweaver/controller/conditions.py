"""What the resource says of itself: a condition for each part, and `Ready`, which is the last word over all.

Each check looks at one thing and says reason and sentence; the first that has something to say decides `Ready`. Zero
pods with nothing to do is ready: what is asked of a model is that changes become searchable, not that a pod runs.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bloomweaver.controller import observed, resources, revisions, rollout

NODE_SECONDS: Final = 180.0


class Reason(StrEnum):
    """Reasons of `Ready`; docs/reference/embeddingmodel.md says what to do about each."""

    SERVING = "Serving"
    IDLE = "Idle"
    WAKING = "Waking"
    REINDEXING = "Reindexing"
    WAITING_FOR_NODE = "WaitingForNode"
    PODS_FAILING = "PodsFailing"
    PODS_REFUSED = "PodsRefused"
    DEPENDENCY_MISSING = "DependencyMissing"
    STORE_UNAVAILABLE = "StoreUnavailable"
    MODEL_NOT_FOUND = "ModelNotFound"
    INDEX_MISMATCH = "IndexMismatch"
    CONFLICT = "Conflict"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class Finding:
    """status: of the condition."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the checks look at. live: the Deployments in use; waiting: documents for any of them."""

    world: observed.World
    trouble: revisions.Trouble | None
    target: resources.Revision
    decisions: Sequence[rollout.Decision]
    live: Sequence[observed.Workload]
    waiting: int
    reindex: resources.Reindex | None
    estimate: str
    pin_trouble: str
    scaled_by: str


def _suspended(at: Situation) -> Finding | None:
    if at.world.resource.spec.suspend:
        return Finding("False", Reason.SUSPENDED, "spec.suspend: no pods run; what is sent waits in the ledger.")
    return None


def _conflict(at: Situation) -> Finding | None:
    if at.world.observed.rivals:
        names = ", ".join(at.world.observed.rivals)
        message = f"{names} was there first with this model. Delete one of them, or name another model."
        return Finding("False", Reason.CONFLICT, message)
    return None


def _model(at: Situation) -> Finding | None:
    if at.trouble is None:
        return None
    reason = Reason.INDEX_MISMATCH if at.trouble.mismatch else Reason.MODEL_NOT_FOUND
    return Finding("False", reason, at.trouble.message)


def _missing(at: Situation) -> Finding | None:
    if at.world.observed.missing:
        names = ", ".join(at.world.observed.missing)
        return Finding("False", Reason.DEPENDENCY_MISSING, f"Not there: {names}. Pods cannot start without; make it.")
    return None


def _stores(at: Situation) -> Finding | None:
    troubles = at.world.observed.troubles
    if troubles:
        told = "; ".join(f"{part}: {why}" for part, why in sorted(troubles.items()))
        return Finding("Unknown", Reason.STORE_UNAVAILABLE, f"{told}. Nothing is changed until it answers.")
    return None


def _pods(at: Situation) -> Finding | None:
    for workload in at.live:
        if workload.refused:
            message = f"{workload.name}: {workload.refused}. Raise the quota, or lower resources or maxReplicas."
            return Finding("False", Reason.PODS_REFUSED, message)
        if workload.failing:
            return Finding("False", Reason.PODS_FAILING, f"{workload.name}: {workload.failing}. See its log.")
        made = workload.creating_since
        if made is not None and at.world.now - made > NODE_SECONDS:
            message = (
                f"{workload.name}: a pod has had a node for over {NODE_SECONDS:.0f} s and does not start. A volume or "
                "a Secret is missing, or the image takes long: see `kubectl describe pod`."
            )
            return Finding("False", Reason.PODS_FAILING, message)
        since = workload.pending_since
        if since is not None and at.world.now - since > NODE_SECONDS:
            message = f"{workload.name}: a pod has had no node for over {NODE_SECONDS:.0f} s. {workload.pending_reason}"
            return Finding("False", Reason.WAITING_FOR_NODE, message.rstrip())
    return None


def _reindexing(at: Situation) -> Finding | None:
    if at.reindex is None:
        return None
    done = f"{at.reindex.done} of {at.reindex.total} documents ready, {at.reindex.failed} failed"
    message = f"{at.reindex.collections} collections go to {at.target.hash}: {done}; the earlier model serves."
    return Finding("True", Reason.REINDEXING, message)


def _working(at: Situation) -> Finding:
    if any(workload.ready for workload in at.live):
        return Finding("True", Reason.SERVING, "Pods work.")
    if at.waiting or any(workload.replicas for workload in at.live):
        return Finding("True", Reason.WAKING, "Documents wait; the first pod starts.")
    return Finding("True", Reason.IDLE, "Nothing waits, so no pod runs.")


CHECKS: Final[tuple[Callable[[Situation], Finding | None], ...]] = (
    _suspended,
    _conflict,
    _model,
    _missing,
    _stores,
    _pods,
    _reindexing,
    _working,
)


def blocked(at: Situation) -> bool:
    """Whether nothing may be done but to say why."""
    return any(check(at) is not None for check in (_conflict, _model))


def _ready(at: Situation) -> Finding:
    return next(found for check in CHECKS if (found := check(at)) is not None)


def _resolved(at: Situation) -> Finding:
    found = _model(at)
    if found is not None:
        return found
    return Finding(
        "True", "Resolved", f"{at.target.model.name} is revision {at.target.hash} in space {at.target.space}."
    )


def _store(at: Situation, part: str) -> Finding:
    why = at.world.observed.troubles.get(part)
    return Finding("True", "Reachable", "") if why is None else Finding("False", "Unreachable", why)


def _scaler(at: Situation) -> Finding:
    scaling = at.world.resource.spec.scaling
    least = max(1, scaling.min_replicas)
    if scaling.driver == "KEDA" and at.scaled_by == "HPA":
        message = f"KEDA is not installed: scaled by CPU between {least} and {scaling.max_replicas}, never to zero."
        return Finding("False", "KedaMissing", message)
    messages = {
        "KEDA": f"By KEDA between {scaling.min_replicas} and {scaling.max_replicas}.",
        "HPA": f"By CPU between {least} and {scaling.max_replicas}.",
        "None": f"Kept at {least}.",
    }
    return Finding("True", {"KEDA": "Keda", "HPA": "Hpa", "None": "Fixed"}[at.scaled_by], messages[at.scaled_by])


def _reindex(at: Situation) -> Finding:
    stages = {decision.stage for decision in at.decisions}
    if rollout.Stage.AWAITING_BEGIN in stages:
        message = f"{at.estimate} Set spec.rollout.begin: {at.target.hash} to begin."
        return Finding("False", "AwaitingBegin", message)
    if rollout.Stage.BUILDING in stages:
        return Finding("True", "Building", at.estimate)
    if rollout.Stage.AWAITING_PROMOTION in stages:
        if any(isinstance(decision.action, rollout.Promote) for decision in at.decisions):
            return Finding("True", "Promoting", "")
        message = (
            f"Built. Set spec.rollout.promote: {at.target.hash}, or allow for the failed ones by rollout.gate "
            "and look at them with `bloomweaver dlq list`."
        )
        return Finding("True", "AwaitingPromotion", message)
    return Finding("False", "None", "")


def _degraded(at: Situation) -> Finding:
    if at.pin_trouble:
        return Finding("True", "PinUnknown", at.pin_trouble)
    return Finding("False", "None", "")


def of(at: Situation) -> list[resources.Condition]:
    """All conditions; one that did not change keeps the time of its last change."""
    found = {
        "Ready": _ready(at),
        "ModelResolved": _resolved(at),
        "QueueReady": _store(at, "queues"),
        "IndexReady": _store(at, "vectors"),
        "ScalerReady": _scaler(at),
        "Reindexing": _reindex(at),
        "Degraded": _degraded(at),
    }
    resource = at.world.resource
    before = {condition.type: condition for condition in resource.status.conditions}
    return list(_dated(found.items(), before, generation=resource.metadata.generation, now=at.world.now))


def _dated(
    found: Iterable[tuple[str, Finding]],
    before: dict[str, resources.Condition],
    *,
    generation: int,
    now: float,
) -> Iterable[resources.Condition]:
    for kind, finding in found:
        old = before.get(kind)
        same = old is not None and old.status == finding.status
        yield resources.Condition.model_validate(
            {
                "type": kind,
                "status": finding.status,
                "reason": str(finding.reason),
                "message": finding.message,
                "observedGeneration": generation,
                "lastTransitionTime": old.last_transition_time if old is not None and same else timestamp(now),
            }
        )


def timestamp(seconds: float) -> str:
    """As Kubernetes writes times."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
