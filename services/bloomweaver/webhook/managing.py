"""Collections and their generations: what PUT of a collection means, and the steps of a re-index (R15).

A collection's pipeline is compared by what it does (model, space, chunking, revision), never by its name: going back to
an earlier model is a new namespace. Every change of a generation is a compare-and-set on its epoch, so that of two
operators one wins and the other is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from bloomweaver.domain import identity
from bloomweaver.domain.documents import Chunking, Collection, Generation, Ordering, Pipeline, State
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.identity import TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger, registry
from bloomweaver.webhook import estimating

SOAK_SECONDS = 24 * 3600.0
TRIES = 3


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that a collection may have. room: tokens of a document's chunk, special tokens and prefix taken off.

    priced_as: its name at the service that is paid by the token for it; empty elsewhere.
    """

    name: str
    space: str
    dimension: int
    room: int
    priced_as: str = ""


class Models(Protocol):
    """The embedding models of this deployment."""

    @property
    def default(self) -> str:
        """The model of collections that name none."""
        ...

    async def find(self, name: str) -> OfferedModel:
        """The model; Refusal(MODEL_NOT_FOUND) if there is none of that name."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What a PUT asks for; None keeps what is there."""

    model: str | None = None
    ordering: Ordering | None = None
    max_tokens: int | None = None
    overlap_tokens: int | None = None
    description: str | None = None

    @property
    def about_pipeline(self) -> bool:
        """Whether anything is said that could begin a re-index; an upgrade never does by itself."""
        return not (self.model is None and self.max_tokens is None and self.overlap_tokens is None)


class Put(StrEnum):
    """What a PUT did."""

    CREATED = "created"
    SAME = "same"
    BUILDING = "building"


class ReindexState(StrEnum):
    """Where a collection's re-index is."""

    NONE = "none"
    BUILDING = "building"
    SOAKING = "soaking"


@dataclass(frozen=True, slots=True)
class Reindex:
    """How far a re-index is. gate: None where nothing is being built or soaked."""

    state: ReindexState
    generation: Generation
    gate: registry.Gate | None = None
    estimate: estimating.Estimate | None = None


class Collections:
    """The use cases. revision: of chunker and parser, part of every new pipeline. speed: for estimates."""

    def __init__(
        self,
        *,
        registry: registry.Registry,
        ledger: ledger.Ledger,
        models: Models,
        revision: str,
        soak_seconds: float = SOAK_SECONDS,
        speed: estimating.Speed = estimating.unknown_speed,
    ) -> None:
        self._estimator = estimating.Estimator(ledger, speed=speed)
        self._registry = registry
        self._ledger = ledger
        self._models = models
        self._revision = revision
        self._soak_seconds = soak_seconds

    async def welcome(self, tenant: TenantId) -> None:
        """The tenant and its collection `default`, if they are not there."""
        pipeline = await self._pipeline(Wish(), before=None, epoch=1)
        await self._registry.ensure_tenant(tenant, pipeline=pipeline)

    async def put(self, tenant: TenantId, name: str, wish: Wish) -> tuple[Collection, Put]:
        """Make the collection, or bring it to what is wished."""
        if not identity.valid_collection_name(name):
            raise Refusal(Reason.INVALID_COLLECTION_NAME, "A collection name is 1 to 63 of a-z 0-9 . _ -.")
        collection = await self._registry.collection(tenant, name)
        if collection is None:
            pipeline = await self._pipeline(wish, before=None, epoch=1)
            collection, made = await self._registry.create_collection(
                tenant,
                name,
                ordering=wish.ordering or Ordering.ARRIVAL,
                description=wish.description or "",
                pipeline=pipeline,
            )
            if made:
                return collection, Put.CREATED
        if wish.ordering is not None and wish.ordering is not collection.ordering:
            detail = f"'{name}' orders changes by {collection.ordering.value}, for as long as it lives."
            raise Refusal(Reason.ORDERING_FIXED, detail, pointers=(("/ordering", detail),))
        put = await self._bring(collection, wish)
        if wish.description is not None and wish.description != collection.description:
            await self._registry.describe_collection(collection.uid, description=wish.description)
        return (await self._registry.collection(tenant, name)) or collection, put

    async def reindex(self, collection: Collection, *, estimated: bool = True) -> Reindex:
        """How far the collection's re-index is."""
        generation = await self._generation(collection)
        if generation.building is not None:
            gate = await self._registry.gate(collection.uid, pipe=generation.building.pipe)
            left = max(0, gate.total - gate.ready - gate.failed)
            estimate = await self._estimate(collection, generation.building, documents=left) if estimated else None
            return Reindex(ReindexState.BUILDING, generation, gate, estimate)
        if generation.previous is not None:
            gate = await self._registry.gate(collection.uid, pipe=generation.previous.pipe)
            return Reindex(ReindexState.SOAKING, generation, gate)
        return Reindex(ReindexState.NONE, generation)

    async def foreseen(self, collection: Collection, *, model: str) -> Reindex:
        """What a re-index to that model would take; nothing begins. None in `estimate` where it is there already."""
        found = await self.reindex(collection, estimated=False)
        wish = Wish(model=model)
        wanted = await self._pipeline(wish, before=found.generation.active, epoch=found.generation.epoch + 1)
        if _same(wanted, found.generation.active):
            return found
        counts = await self._ledger.counts(collection.tenant, collection.uid)
        documents = sum(number for state, number in counts.items() if state is not State.DELETED)
        return replace(found, estimate=await self._estimate(collection, wanted, documents=documents))

    async def promote(self, collection: Collection, *, force: bool) -> Reindex:
        """What was built becomes what is searched."""
        generation = await self._generation(collection)
        if generation.building is None:
            raise Refusal(Reason.REINDEX_CONFLICT, "Nothing is being built, so there is nothing to promote.")
        moved = await self._registry.promote(
            collection.uid, epoch=generation.epoch, force=force, soak_seconds=self._soak_seconds
        )
        return await self._moved(collection, moved, "promote")

    async def roll_back(self, collection: Collection, *, force: bool) -> Reindex:
        """What was searched before the last promotion is searched again."""
        generation = await self._generation(collection)
        if generation.previous is None:
            raise Refusal(
                Reason.REINDEX_CONFLICT, "There is no earlier index any more: the soak is over, or never began."
            )
        moved = await self._registry.roll_back(collection.uid, epoch=generation.epoch, force=force)
        return await self._moved(collection, moved, "roll back")

    async def cancel(self, collection: Collection) -> Reindex:
        """Give up what is being built."""
        generation = await self._generation(collection)
        if generation.building is None:
            raise Refusal(Reason.REINDEX_CONFLICT, "Nothing is being built, so there is nothing to cancel.")
        moved = await self._registry.build(collection.uid, epoch=generation.epoch, pipeline=None)
        return await self._moved(collection, moved, "cancel")

    async def _bring(self, collection: Collection, wish: Wish) -> Put:
        if not wish.about_pipeline:
            return Put.SAME
        for _ in range(TRIES):
            generation = await self._generation(collection)
            before = generation.building or generation.active
            wanted = await self._pipeline(wish, before=before, epoch=generation.epoch + 1)
            if generation.building is not None and _same(wanted, generation.building):
                return Put.SAME
            back = _same(wanted, generation.active)
            if back and generation.building is None:
                return Put.SAME
            moved = await self._registry.build(
                collection.uid, epoch=generation.epoch, pipeline=None if back else wanted
            )
            if moved.generation is not None:
                return Put.SAME if back else Put.BUILDING
        raise Refusal(Reason.REINDEX_CONFLICT, "Others keep changing this collection. Look at it and decide again.")

    async def _pipeline(self, wish: Wish, *, before: Pipeline | None, epoch: int) -> Pipeline:
        """The pipeline that is wished. What is omitted is kept, but never beyond what the model can read."""
        model = await self._model(wish.model or (before.model if before else self._models.default))
        kept = before.chunking if before else Chunking(model.room, 0)
        max_tokens = min(kept.max_tokens, model.room) if wish.max_tokens is None else wish.max_tokens
        overlap = min(kept.overlap_tokens, max_tokens // 2) if wish.overlap_tokens is None else wish.overlap_tokens
        chunking = Chunking(max_tokens, overlap)
        if not 1 <= chunking.max_tokens <= model.room:
            detail = f"{model.name} reads 1 to {model.room} tokens of a chunk"
            raise Refusal(Reason.INVALID_REQUEST, f"{detail}.", pointers=(("/chunking/max_tokens", detail),))
        if not 0 <= chunking.overlap_tokens <= chunking.max_tokens // 2:
            detail = f"0 to {chunking.max_tokens // 2}: at most half of max_tokens"
            raise Refusal(Reason.INVALID_REQUEST, f"{detail}.", pointers=(("/chunking/overlap_tokens", detail),))
        pipe = identity.pipe_of(
            space=model.space,
            max_tokens=chunking.max_tokens,
            overlap_tokens=chunking.overlap_tokens,
            revision=self._revision,
            epoch=epoch,
        )
        return Pipeline(pipe, model.space, model.name, chunking, self._revision)

    async def _model(self, name: str) -> OfferedModel:
        try:
            return await self._models.find(name)
        except Refusal as refusal:
            raise Refusal(refusal.reason, refusal.detail, pointers=(("/model", refusal.detail),)) from None

    async def _generation(self, collection: Collection) -> Generation:
        generation = await self._registry.generation(collection.uid)
        if generation is None:
            raise Refusal(Reason.COLLECTION_NOT_FOUND, f"There is no collection '{collection.name}'.")
        return generation

    async def _moved(self, collection: Collection, moved: registry.Moved, verb: str) -> Reindex:
        if moved.generation is not None:
            return await self.reindex(collection)
        if moved.gate is None or moved.gate.open:
            raise Refusal(Reason.REINDEX_CONFLICT, "Another call changed this collection first. Look and decide again.")
        gate = moved.gate
        detail = (
            f"Cannot {verb} yet: {gate.ready} of {gate.total} documents are ready, {gate.failed} failed. "
            "Wait, or repeat it with ?force=true."
        )
        raise Refusal(Reason.REINDEX_CONFLICT, detail)

    async def _estimate(
        self, collection: Collection, pipeline: Pipeline, *, documents: int
    ) -> estimating.Estimate | None:
        try:
            model = await self._models.find(pipeline.model)
        except Refusal:
            return None  # it can be built without this process knowing it, but not foreseen
        target = estimating.Target(
            space=pipeline.space, dimension=model.dimension, chunking=pipeline.chunking, priced_as=model.priced_as
        )
        return await self._estimator.of(collection.uid, documents=documents, target=target)


def _same(wanted: Pipeline, current: Pipeline) -> bool:
    """Compared by what it does; `pipe` also names the epoch that began it."""
    return (wanted.space, wanted.chunking, wanted.revision) == (current.space, current.chunking, current.revision)


def laggards_of(gate: registry.Gate) -> Sequence[str]:
    """Some documents that hold the gate, by id."""
    return [key.document_id for key in gate.laggards]
