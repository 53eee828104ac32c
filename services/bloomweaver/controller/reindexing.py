"""The collections that follow a resource, and the steps of their re-index, over the registry (R15).

Every step is a compare-and-set on the epoch that it was decided on: where somebody else was first nothing happens, and
the next look decides anew. So a controller may end anywhere in between, and two of them do no harm.
"""

from bloomweaver.controller import observed, rollout
from bloomweaver.domain import identity
from bloomweaver.domain.documents import Collection, Pipeline
from bloomweaver.ports import registry


class Reindexing:
    """revision: of chunker and parser, part of every new pipeline."""

    def __init__(self, registry: registry.Registry, *, revision: str) -> None:
        self._registry = registry
        self._revision = revision

    async def collections(self) -> tuple[observed.Kept, ...]:
        """All, with the gate of what is being built."""
        found = [await self._kept(collection) for collection in await self._registry.collections()]
        return tuple(kept for kept in found if kept is not None)

    async def carry_out(self, action: rollout.Action) -> bool:
        """One step; False where the collection has moved on, or the gate is shut again."""
        if isinstance(action, rollout.Promote):
            moved = await self._registry.promote(
                action.uid, epoch=action.epoch, force=action.force, soak_seconds=action.soak_seconds
            )
        elif isinstance(action, rollout.RollBack):
            moved = await self._registry.roll_back(action.uid, epoch=action.epoch, force=False)
        else:
            pipeline = self._pipeline(action) if isinstance(action, rollout.Build) else None
            moved = await self._registry.build(action.uid, epoch=action.epoch, pipeline=pipeline)
        return moved.generation is not None

    async def _kept(self, collection: Collection) -> observed.Kept | None:
        generation = await self._registry.generation(collection.uid)
        if generation is None:
            return None
        counted = None
        if generation.building is not None:
            gate = await self._registry.gate(collection.uid, pipe=generation.building.pipe)
            counted = observed.Counted(gate.total, gate.ready, gate.failed)
        return observed.Kept(tenant=collection.tenant, name=collection.name, generation=generation, gate=counted)

    def _pipeline(self, action: rollout.Build) -> Pipeline:
        pipe = identity.pipe_of(
            space=action.space,
            max_tokens=action.chunking.max_tokens,
            overlap_tokens=action.chunking.overlap_tokens,
            revision=self._revision,
            epoch=action.epoch + 1,
        )
        return Pipeline(pipe, action.space, action.model, action.chunking, self._revision)
