"""A change of the resource, carried through over a ledger in memory: build, gate, promote, soak, back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bloomweaver.adapters import opening
from bloomweaver.controller import observed, planning, reindexing, resources, revisions
from bloomweaver.domain import models
from bloomweaver.domain.documents import Chunking, Generation, Ordering, Pipeline
from bloomweaver.domain.identity import Pipe
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world as worlds

FIRST, SECOND = (models.PROVIDED[name] for name in ("all-minilm-l6-v2", "bge-small-en-v1.5"))
FIRST_HASH, SECOND_HASH = (revisions.hash_of(each.name, models.space_of(each)) for each in (FIRST, SECOND))
SETUP = observed.Setup(cpu_image="cpu", gpu_image="gpu", config_map="bw", secret="", scaler_address="c:9090")


class Controlled:
    """One resource and one collection; `settle` looks until nothing moves."""

    def __init__(self, world: worlds.World) -> None:
        self.w = world
        self.reindexing = reindexing.Reindexing(world.database.registry, revision="1")
        self.status = resources.Status()
        self.spec: dict[str, Any] = {}
        self.edit(FIRST)

    def edit(self, model: models.ModelSpec, **rollout: Any) -> None:
        made = {"name": model.name, "dimensions": model.dimension, "maxTokens": model.max_tokens}
        self.spec = {"model": made, "rollout": rollout}

    async def look(self) -> planning.Plan:
        meta = {"name": "minilm", "namespace": "kb", "uid": "u-1"}
        resource = resources.EmbeddingModel.model_validate({"metadata": meta, "spec": self.spec})
        plan = planning.plan(
            observed.World(
                resource=resource.model_copy(update={"status": self.status}),
                observed=observed.Observed(collections=await self.reindexing.collections()),
                setup=SETUP,
                capabilities=observed.Capabilities(),
                now=self.w.time.now(),
            )
        )
        for action in plan.actions:
            await self.reindexing.carry_out(action)
        self.status = plan.status
        return plan

    async def settle(self) -> planning.Plan:
        for _ in range(5):
            plan = await self.look()
            if not plan.actions:
                return plan
        raise AssertionError("it never comes to rest")

    async def generation(self) -> Generation:
        found = await self.w.database.registry.generation(self.w.collection.uid)
        assert found is not None
        return found

    async def searched(self) -> str:
        return (await self.generation()).active.model

    async def built(self, document: str = worlds.DOCUMENT) -> None:
        """As embedder and writer would: the document is ready in what is being built."""
        generation = await self.generation()
        assert generation.building is not None
        await self.w.index((await self.w.row(document)).seq, document, pipe=generation.building.pipe)


@pytest.fixture
async def controlled() -> AsyncIterator[Controlled]:
    time = clocks.ManualClock()
    async with opening.open_database("mem://", clock=time, nonces=opening.system_nonces()) as database:
        pipeline = Pipeline(Pipe("pipe-1"), models.space_of(FIRST), FIRST.name, Chunking(254), "1")
        collection, _ = await database.registry.create_collection(
            worlds.TENANT, "handbook", ordering=Ordering.ARRIVAL, description="", pipeline=pipeline
        )
        world = worlds.World(database, time, collection)
        await world.index(await world.put(), pipe=pipeline.pipe)
        made = Controlled(world)
        await made.settle()
        yield made


async def test_an_edit_builds_beside_what_is_searched_and_promotes_when_all_is_there(controlled: Controlled):
    controlled.edit(SECOND)
    await controlled.settle()
    assert await controlled.searched() == FIRST.name
    await controlled.built()
    await controlled.settle()
    assert await controlled.searched() == SECOND.name
    assert controlled.status.active_revision is not None
    assert controlled.status.active_revision.hash == SECOND_HASH
    assert controlled.status.previous_revision is not None
    assert controlled.status.previous_revision.hash == FIRST_HASH


async def test_a_pin_goes_back_by_the_pointer_alone(controlled: Controlled):
    controlled.edit(SECOND)
    await controlled.settle()
    await controlled.built()
    await controlled.settle()
    controlled.edit(SECOND, pin=FIRST_HASH)
    await controlled.settle()
    generation = await controlled.generation()
    assert (generation.active.model, generation.building) == (FIRST.name, None)


async def test_a_second_edit_replaces_what_is_being_built(controlled: Controlled):
    third = resources.Model(
        name="own",
        space="00c0ffee00c0ffee",
        dimensions=8,
        max_tokens=64,
        source=resources.Source(claim=resources.Claim(name="weights")),
    )
    controlled.edit(SECOND)
    await controlled.settle()
    controlled.spec["model"] = third.model_dump(by_alias=True, exclude_none=True)
    await controlled.settle()
    building = (await controlled.generation()).building
    assert building is not None
    assert (building.model, building.chunking) == ("own", Chunking(62))


async def test_going_back_before_the_promotion_cancels_what_is_being_built(controlled: Controlled):
    controlled.edit(SECOND)
    await controlled.settle()
    controlled.edit(FIRST)
    await controlled.settle()
    generation = await controlled.generation()
    assert (generation.active.model, generation.building) == (FIRST.name, None)


async def test_a_manual_promotion_waits_for_its_word(controlled: Controlled):
    controlled.edit(SECOND, promotion="Manual")
    await controlled.settle()
    await controlled.built()
    await controlled.settle()
    assert await controlled.searched() == FIRST.name
    controlled.edit(SECOND, promotion="Manual", promote=SECOND_HASH)
    await controlled.settle()
    assert await controlled.searched() == SECOND.name


async def test_a_document_that_is_not_built_yet_holds_the_promotion(controlled: Controlled):
    active = (await controlled.generation()).active.pipe
    await controlled.w.index(await controlled.w.put("late", "late"), "late", pipe=active)
    controlled.edit(SECOND)
    await controlled.settle()
    await controlled.built()
    await controlled.settle()
    assert await controlled.searched() == FIRST.name
    await controlled.built("late")
    await controlled.settle()
    assert await controlled.searched() == SECOND.name


async def test_of_two_controllers_one_begins_to_build(controlled: Controlled):
    controlled.edit(SECOND)
    plan = await controlled.look()
    epoch = (await controlled.generation()).epoch
    assert [await controlled.reindexing.carry_out(action) for action in plan.actions] == [False]
    assert (await controlled.generation()).epoch == epoch
