"""Those who read and those who operate: searches, re-indexing in every order, collections deleted and made again.

An operator acts through the registry's compare-and-set methods, as the webhook's routes do, and may lose each of them.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from bloomweaver.domain import errors, filters
from bloomweaver.domain.documents import Collection, DocumentKey, Ordering
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.search import service as search_service
from bloomweaver.testing import faults, loop
from bloomweaver.webhook import managing
from bloomweaver.webhook import service as webhook_service
from tests.simulation import clients, histories, world
from tests.simulation.plans import QUERY

SEARCH_PATIENCE_SECONDS = 400.0
EVERYTHING = 100


async def searcher(
    world_: world.World, tenant: str, collections: tuple[str, ...], *, number: int, rng: random.Random
) -> None:
    """Searches at random moments, some of them with a filter, some overlapping."""
    plan, tasks = world_.plan, []
    for _ in range(number):
        await asyncio.sleep(rng.expovariate(number / plan.active_seconds))
        tag = rng.choice(clients.TAGS) if rng.random() < 0.15 else None
        tasks.append(asyncio.create_task(search(world_, tenant, *collections, tag=tag)))
        if rng.random() < 0.8:
            await asyncio.wait(tasks[-1:])
    await asyncio.gather(*tasks)


async def search(
    world_: world.World, tenant: str, *collections: str, tag: str | None = None, final: bool = False
) -> histories.Search:
    """One search for everything, as a client sees it."""
    started = world_.loop.time()
    number = len(world_.history.searches) + 1
    hits: tuple[histories.Seen, ...] | None = None
    truncated, reason = False, ""
    try:
        async with asyncio.timeout(SEARCH_PATIENCE_SECONDS):
            answer = await _ask(world_, tenant, collections, tag=tag)
        hits, truncated = tuple(_seen(hit) for hit in answer.hits), answer.truncated
    except (loop.Lost, errors.BloomWeaverError, TimeoutError) as error:
        reason = f"{type(error).__name__} {error}"
    ended = world_.loop.time()
    done = histories.Search(
        number, tenant, collections, started, ended, hits, reason, truncated=truncated, tag=tag, final=final
    )
    world_.history.searches.append(done)
    world_.chaos.counts["search_several"] += len(collections) > 1 and len({seen.document for seen in hits or ()}) > 1
    told = reason or " ".join(f"{hit.document}@{hit.seq & 0xFFFFFF}.{hit.index}" for hit in hits or ()) or "nothing"
    world_.tell("client", f"search {number} {tenant}/{'+'.join(collections)} from {started:.1f} s", told)
    return done


async def _ask(
    world_: world.World, tenant: str, collections: tuple[str, ...], *, tag: str | None
) -> search_service.Answer:
    running = world_.alive("search")
    if not running:
        raise loop.Lost
    host, service = running[0].host, running[0].service
    registry = faults.faulty(world_.database.registry, host=host, chaos=world_.chaos)

    async def ask() -> search_service.Answer:
        named = [await registry.collection(TenantId(tenant), collection) for collection in collections]
        found = tuple(collection for collection in named if collection is not None)
        where = filters.parse({"tag": tag}) if tag else None
        answer: search_service.Answer = await service.search(
            search_service.Question(QUERY, found, limit=EVERYTHING, where=where)
        )
        return answer

    return await host.call(ask())


def _seen(hit: search_service.Hit) -> histories.Seen:
    shown = hit.chunk
    tag = shown.revision.meta.metadata.get("tag", "")
    return histories.Seen(shown.ref.key.document_id, shown.ref.seq, shown.ref.index, shown.chunk.text, str(tag))


class Operator:
    """Re-indexes one collection: begins, waits for the gate, promotes, rolls back, cancels or changes its mind."""

    def __init__(
        self, world_: world.World, tenant: str, collection: str, *, ordering: Ordering, rng: random.Random
    ) -> None:
        self._world = world_
        self._ordering = ordering
        self._tenant = TenantId(tenant)
        self._collection = collection
        self._rng = rng

    async def run(self) -> None:
        """As many re-indexes as the plan has, each ending in some way."""
        plan, rng = self._world.plan, self._rng
        for _ in range(plan.reindexes):
            await asyncio.sleep(rng.random() * plan.active_seconds / 2.0)
            if not await self._ask("begin", lambda use: use.put(self._tenant, self._collection, self._wish())):
                continue
            for _ in range(rng.randint(1, 8)):
                await asyncio.sleep(rng.random() * 60.0)
                if await self._ask("promote", lambda use: self._promote(use, force=False)):
                    break
            else:
                await self._give_up()
                continue
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * plan.soak_seconds)
                await self._ask("roll back", self._roll_back)

    async def _give_up(self) -> None:
        """The gate stayed shut: cancel, or insist, or leave it as it is."""
        draw = self._rng.random()
        if draw < 0.5:
            await self._ask("cancel", self._cancel)
        elif draw < 0.6:
            await self._ask("promote by force", lambda use: self._promote(use, force=True))

    async def _ask(self, what: str, work: Callable[[managing.Collections], Coroutine[Any, Any, object]]) -> bool:
        """One call of the webhook's routes; whether it was done, as far as the caller can tell."""
        webhooks = self._world.alive("webhook")
        if not webhooks:
            return False
        chosen = self._rng.choice(webhooks)
        assert chosen.collections is not None
        try:
            async with asyncio.timeout(60.0):
                await chosen.host.call(work(chosen.collections))
        except (loop.Lost, errors.BloomWeaverError, TimeoutError) as error:
            self._world.tell("operator", f"{what} {self._tenant}/{self._collection}", f"{type(error).__name__} {error}")
            return False
        self._world.tell("operator", f"{what} {self._tenant}/{self._collection}", "done")
        return True

    def _wish(self) -> managing.Wish:
        model = self._rng.choice(world.SPECS).name
        return managing.Wish(model=model, max_tokens=self._rng.choice([12, 24]), ordering=self._ordering)

    async def _now(self) -> Collection:
        found = await self._world.database.registry.collection(self._tenant, self._collection)
        if found is None:
            raise errors.Refusal(Reason.COLLECTION_NOT_FOUND)
        return found

    async def _promote(self, use: managing.Collections, *, force: bool) -> None:
        if force:
            self._world.history.forced.append((self._tenant, self._collection, self._world.loop.time()))
        await use.promote(await self._now(), force=force)

    async def _roll_back(self, use: managing.Collections) -> None:
        await use.roll_back(await self._now(), force=False)

    async def _cancel(self, use: managing.Collections) -> None:
        await use.cancel(await self._now())


async def remake(world_: world.World, tenant: str, collection: str, *, ordering: Ordering, rng: random.Random) -> None:
    """The collection is deleted in the middle of everything, and made again under the same name."""
    await asyncio.sleep(world_.plan.active_seconds * (0.3 + 0.4 * rng.random()))
    registry = world_.database.registry
    found = await registry.collection(TenantId(tenant), collection)
    if found is None:
        return
    removal = histories.Removal(tenant, collection, found.uid, world_.loop.time())
    world_.history.removals.append(removal)
    await asyncio.sleep(rng.random())
    await registry.delete_collection(found.uid)
    await asyncio.sleep(rng.random())
    removal.ended = world_.loop.time()
    world_.chaos.counts["collection_removed"] += 1
    world_.tell("operator", f"{tenant}/{collection}", "collection deleted")
    await asyncio.sleep(rng.random() * 120.0)
    await world_.make_collection(tenant, collection, ordering=ordering)
    world_.tell("operator", f"{tenant}/{collection}", "collection made again")


async def blob_thief(world_: world.World, *, rng: random.Random) -> None:
    """Blobs are lost for good, as by a life-cycle rule that somebody set wrongly."""
    for _ in range(world_.plan.lost_blobs):
        await asyncio.sleep(rng.random() * world_.plan.active_seconds / 2.0)
        names = sorted([info.key async for info in world_.blobs.list("")])
        if names:
            name = rng.choice(names)
            await world_.blobs.delete([name])
            world_.chaos.counts["blob_lost"] += 1
            world_.tell("nobody", name, "blob lost for good")


async def redriver(world_: world.World, *, rng: random.Random) -> None:
    """Somebody presses retry on failed documents now and then."""
    while world_.loop.time() < world_.plan.active_seconds:
        await asyncio.sleep(100.0 + rng.random() * 200.0)
        for op in world_.history.operations:
            webhooks = world_.alive("webhook")
            if op.fate is None or not op.uid or not webhooks:
                continue
            caller = webhook_service.Caller(TenantId(op.place.tenant), "person", "retry")
            key = DocumentKey(CollectionUid(op.uid), DocumentId(op.place.document))
            try:
                answer = await webhooks[0].host.call(webhooks[0].service.retry(key, caller=caller))
            except (loop.Lost, errors.BloomWeaverError):
                continue
            if answer is not None:
                world_.chaos.counts["redriven"] += 1
