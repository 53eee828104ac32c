"""How collections follow the resource: build beside what is searched, gate, promote; back by the pointer alone (R15).

Pure. Each collection is decided by its own generation, so a controller that ended in the middle goes on where it was,
and a second edit simply has another target: what was being built for the first is replaced. Invariants: what is
searched changes only by a promotion or a rollback; every action carries the epoch it was decided on, so that of two
deciders one wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from bloomweaver.controller import observed, resources, revisions
from bloomweaver.domain.documents import Chunking
from bloomweaver.domain.identity import CollectionUid


@dataclass(frozen=True, slots=True)
class Build:
    """Begin to build, instead of what is being built."""

    uid: CollectionUid
    epoch: int
    model: str
    space: str
    chunking: Chunking


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up what is being built."""

    uid: CollectionUid
    epoch: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Search what was built. force: some documents failed in it, no more than the gate allows."""

    uid: CollectionUid
    epoch: int
    force: bool
    soak_seconds: float


@dataclass(frozen=True, slots=True)
class RollBack:
    """Search again what was searched before."""

    uid: CollectionUid
    epoch: int


Action: TypeAlias = Build | Cancel | Promote | RollBack


class Stage(StrEnum):
    """Where a collection is on its way to the target."""

    THERE = "there"
    AWAITING_BEGIN = "awaiting_begin"
    BUILDING = "building"
    AWAITING_PROMOTION = "awaiting_promotion"


@dataclass(frozen=True, slots=True)
class Decision:
    """action: None where there is nothing to do but to wait, or nothing at all."""

    stage: Stage
    action: Action | None = None


def decide(kept: observed.Kept, *, target: resources.Revision, spec: resources.Spec) -> Decision:
    """The next step of one collection."""
    generation = kept.generation
    uid, epoch = generation.collection_uid, generation.epoch
    if generation.active.space == target.space:
        return Decision(Stage.THERE, None if generation.building is None else Cancel(uid, epoch))
    if generation.building is not None and generation.building.space == target.space:
        return _gated(kept, target=target, rollout=spec.rollout)
    if generation.previous is not None and generation.previous.space == target.space:
        return Decision(Stage.BUILDING, RollBack(uid, epoch))
    if spec.rollout.strategy == "Manual" and spec.rollout.begin != target.hash:
        return Decision(Stage.AWAITING_BEGIN)
    chunking = revisions.chunking_of(spec.chunking, model=target.model, before=generation.active)
    return Decision(Stage.BUILDING, Build(uid, epoch, target.model.name, target.space, chunking))


def _gated(kept: observed.Kept, *, target: resources.Revision, rollout: resources.Rollout) -> Decision:
    gate, generation = kept.gate, kept.generation
    if gate is None or gate.ready + gate.failed < gate.total:
        return Decision(Stage.BUILDING)
    failed = gate.total - gate.ready
    allowed = failed * 100 <= rollout.gate.max_failed_percent * gate.total
    if not allowed or (rollout.promotion == "Manual" and rollout.promote != target.hash):
        return Decision(Stage.AWAITING_PROMOTION)
    soak = float(rollout.keep_previous_seconds)
    return Decision(
        Stage.AWAITING_PROMOTION,
        Promote(generation.collection_uid, generation.epoch, force=failed > 0, soak_seconds=soak),
    )


def known(status: resources.Status) -> list[resources.Revision]:
    """The revisions that the resource has, the active one first."""
    each = (status.active_revision, status.candidate_revision, status.previous_revision)
    return [revision for revision in each if revision is not None]


def target_of(resource: resources.EmbeddingModel) -> tuple[resources.Revision, str]:
    """What collections have to follow, and what is wrong with `pin`, if anything: then what is active stays."""
    wished, pin = revisions.of(resource.spec.model), resource.spec.rollout.pin
    candidates = [wished, *known(resource.status)]
    if not pin:
        return wished, ""
    for revision in candidates:
        if revision.hash == pin:
            return revision, ""
    names = ", ".join(dict.fromkeys(revision.hash for revision in candidates))
    return resource.status.active_revision or wished, f"spec.rollout.pin: {pin} is none of {names}"


def reindex_of(members: Sequence[observed.Kept], *, target: resources.Revision) -> resources.Reindex | None:
    """All re-indexes to the target, added up; None where there is none."""
    moving = [kept for kept in members if kept.generation.active.space != target.space]
    if not moving:
        return None
    gates = [kept.gate for kept in moving if kept.gate is not None]
    total, done = sum(gate.total for gate in gates), sum(gate.ready for gate in gates)
    # Empty collections have nothing to build, and are at the end at once.
    percent = 100 if gates and total == 0 else done * 100 // max(1, total)
    return resources.Reindex(
        collections=len(moving), total=total, done=done, failed=sum(gate.failed for gate in gates), percent=percent
    )
