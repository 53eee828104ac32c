"""What PUT of a collection means, decided against a registry in memory."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from bloomweaver.domain.documents import Chunking, Generation
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import registry as ports_registry
from bloomweaver.webhook import managing
from bloomweaver.webhook.managing import Put, Wish
from tests.support import pipelines


class Models:
    """Two models; the second reads less at once."""

    default = "wide"

    async def find(self, name: str) -> managing.OfferedModel:
        rooms = {"wide": 254, "narrow": 100}
        if name not in rooms:
            raise Refusal(Reason.MODEL_NOT_FOUND, "There is no such model.")
        return managing.OfferedModel(name, f"space-{name}", 8, rooms[name])


@dataclass
class Managed:
    pipe: pipelines.Pipeline
    collections: managing.Collections

    async def put(self, **wish: Any) -> Put:
        return (await self.collections.put(pipelines.TENANT, "docs", replace(Wish(), **wish)))[1]

    async def generation(self) -> Generation:
        database = self.pipe.store.database
        collection = await database.registry.collection(pipelines.TENANT, "docs")
        assert collection is not None
        found = await database.registry.generation(collection.uid)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def managed() -> AsyncIterator[Managed]:
    async with pipelines.opened() as pipe:
        yield Managed(pipe, collections_of(pipe, "1.1"))


def collections_of(pipe: pipelines.Pipeline, revision: str) -> managing.Collections:
    database = pipe.store.database
    return managing.Collections(registry=database.registry, ledger=database.ledger, models=Models(), revision=revision)


async def test_a_new_collection_takes_the_default_model_and_all_that_it_reads():
    async with managed() as made:
        assert await made.put() is Put.CREATED
        active = (await made.generation()).active
        assert (active.model, active.chunking) == ("wide", Chunking(254, 0))
        assert await made.put() is Put.SAME


async def test_a_narrower_model_takes_as_much_as_it_can_read():
    async with managed() as made:
        await made.put(overlap_tokens=60)
        assert await made.put(model="narrow") is Put.BUILDING
        building = (await made.generation()).building
        assert building is not None
        assert building.chunking == Chunking(100, 50)


async def test_asking_for_more_than_the_model_reads_is_refused():
    async with managed() as made:
        await made.put()
        with pytest.raises(Refusal) as caught:
            await made.put(model="narrow", max_tokens=101)
        assert caught.value.pointers[0][0] == "/chunking/max_tokens"


async def test_a_second_change_supersedes_the_one_that_is_being_built():
    async with managed() as made:
        await made.put()
        await made.put(model="narrow")
        assert await made.put(max_tokens=50) is Put.BUILDING
        building = (await made.generation()).building
        assert building is not None
        assert (building.model, building.chunking.max_tokens) == ("narrow", 50)


async def test_going_back_to_what_is_active_cancels():
    async with managed() as made:
        await made.put()
        before = await made.generation()
        await made.put(model="narrow")
        assert await made.put(model="wide", max_tokens=254) is Put.SAME
        after = await made.generation()
        assert (after.building, after.active) == (None, before.active)


async def test_a_release_reindexes_only_where_somebody_asks_for_the_pipeline():
    async with managed() as made:
        await made.put()
        released = Managed(made.pipe, collections_of(made.pipe, "1.2"))
        assert await released.put(description="new") is Put.SAME
        assert await released.put(model="wide") is Put.BUILDING
        building = (await made.generation()).building
        assert building is not None
        assert building.revision == "1.2"


async def test_a_collection_that_others_keep_changing_is_a_conflict():
    async with managed() as made:
        await made.put()
        registry = made.pipe.store.database.registry

        class Contested:
            """Somebody else is always first."""

            def __getattr__(self, name: str) -> Any:
                return getattr(registry, name)

            async def build(self, uid, *, epoch, pipeline):
                return await registry.build(uid, epoch=epoch - 1, pipeline=pipeline)

        contested = managing.Collections(
            registry=cast("ports_registry.Registry", Contested()),
            ledger=made.pipe.ledger,
            models=Models(),
            revision="1.1",
        )
        with pytest.raises(Refusal) as caught:
            await contested.put(pipelines.TENANT, "docs", Wish(model="narrow"))
        assert caught.value.reason is Reason.REINDEX_CONFLICT
