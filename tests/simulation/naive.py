"""The control: four queues and a vector store, as one draws it first. No row decides anything; the store is the truth.

It runs without a single fault but embedders that are scaled to zero for a while. If the oracle did not catch it in more
than half of its histories, the oracle would be blind, and its silence about the real design would mean nothing.
"""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

from bloomweaver.adapters.queues import memory as memory_queues
from bloomweaver.domain.documents import DocumentKey, Row
from bloomweaver.domain.events import Accepted, ChangeType, Hint, Outcome
from bloomweaver.domain.identity import CollectionUid, DocumentId
from bloomweaver.testing import chaos, loop
from bloomweaver.webhook import service as webhook_service
from tests.simulation import clients, histories, oracle, plans

COLLECTION = "docs"
COLD_SECONDS = (60.0, 480.0)
TENANTS = ("acme", "bolt")


@dataclass(frozen=True, slots=True)
class Entry:
    """One vector: `doc/i` of a tenant, overwritten in place by the next version."""

    document: str
    seq: int
    index: int
    text: str


@dataclass(slots=True)
class Service:
    """A process as clients see it."""

    host: loop.Host
    service: Any


class NaiveWorld:
    """The change queue feeds the embedder, and it the create and update queues; deletes go straight to their queue."""

    def __init__(self, plan: plans.Plan) -> None:
        self.plan = plan
        self.history = histories.History()
        self.loop = loop.VirtualLoop(random.Random(f"schedule/{plan.seed}"))
        self.chaos = chaos.Chaos(random.Random(f"faults/{plan.seed}"), plan.rates, self.loop)
        self._rng = random.Random(f"naive/{plan.seed}")
        self._queues = memory_queues.MemoryQueues(clock=loop.VirtualClock(self.loop))
        self._texts: dict[int, tuple[str, ...]] = {}
        self._vectors: dict[tuple[str, str, int], Entry] = {}
        self._known: set[tuple[str, str]] = set()
        self._seq = 0
        self._cold: list[tuple[float, float]] = []
        self._running = Service(loop.Host("webhook", loop=self.loop), self)

    def alive(self, role: str) -> list[Service]:
        """There is one webhook, and it never fails."""
        return [self._running]

    def tell(self, who: str, what: str, outcome: str) -> None:
        """Nobody listens."""

    async def accept(
        self, submissions: list[webhook_service.Submission], *, caller: webhook_service.Caller
    ) -> list[Accepted]:
        """Store the text, send a message, answer."""
        (sent,) = submissions
        self._seq += 1
        place = (caller.tenant, sent.document_id)
        deletes = sent.change_type is ChangeType.DELETE
        key = DocumentKey(CollectionUid(caller.tenant), DocumentId(sent.document_id))
        hint = Hint(caller.tenant, key.collection_uid, key.document_id, self._seq)
        if deletes:
            outcome = Outcome.DELETED
            await self._queues.send("delete", [hint])
        else:
            self._texts[self._seq] = tuple((sent.text or "").split("\n\n"))
            outcome = Outcome.UPDATED if place in self._known else Outcome.CREATED
            self._known.add(place)
            await self._queues.send("change", [hint])
        await self._pause()
        row = Row(key, self._seq, self._seq)
        return [Accepted(outcome, row, hint.seq, sent.event_id or "", key.collection_uid)]

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.expovariate(20.0))

    async def _worker(self, queue: str) -> None:
        while True:
            for delivery in await self._queues.receive(queue, limit=1, visibility_seconds=3600.0, wait_seconds=3600.0):
                await asyncio.sleep(self._cold_for() if queue == "change" else 0.0)
                await self._pause()
                await self._work(queue, delivery.hint)
                await self._queues.ack(queue, [delivery])

    def _cold_for(self) -> float:
        now = self.loop.time()
        return max((ends - now for begins, ends in self._cold if begins <= now < ends), default=0.0)

    async def _work(self, queue: str, hint: Hint) -> None:
        tenant, document = hint.tenant, hint.document_id
        if queue == "change":
            held = any(entry.document == document for (owner, _, _), entry in self._vectors.items() if owner == tenant)
            await self._queues.send("update" if held else "create", [hint])
            return
        texts = () if queue == "delete" else self._texts[hint.seq]
        for index, text in enumerate(texts):
            self._vectors[tenant, document, index] = Entry(document, hint.seq, index, text)
        await self._pause()
        listed = [name for name in self._vectors if name[:2] == (tenant, document) and name[2] >= len(texts)]
        await self._pause()
        for name in listed:
            self._vectors.pop(name, None)

    async def live(self) -> None:
        """Clients and searches, one cold window or two, then rest."""
        plan = self.plan
        for _ in range(2):
            begins = self._rng.random() * plan.active_seconds * 0.8
            self._cold.append((begins, begins + self._rng.uniform(*COLD_SECONDS)))
        workers = [asyncio.create_task(self._worker(q)) for q in ("change", "change", "create", "update", "delete")]
        crowd = [self._searcher(tenant) for tenant in TENANTS]
        for tenant in TENANTS:
            for number in range(plan.documents):
                place = histories.Place(tenant, COLLECTION, f"d{number}")
                crowd.append(clients.Writer(self, place, source_ordered=False).run())
        await asyncio.gather(*crowd)
        await asyncio.sleep(3600.0)
        for tenant in TENANTS:
            await self._search(tenant)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _searcher(self, tenant: str) -> None:
        for _ in range(self.plan.searches):
            await asyncio.sleep(self._rng.expovariate(self.plan.searches / self.plan.active_seconds))
            await self._search(tenant)

    async def _search(self, tenant: str) -> None:
        started = self.loop.time()
        await self._pause()
        hits = tuple(
            histories.Seen(entry.document, entry.seq, entry.index, entry.text, "")
            for (owner, _, _), entry in self._vectors.items()
            if owner == tenant
        )
        number = len(self.history.searches) + 1
        self.history.searches.append(histories.Search(number, tenant, (COLLECTION,), started, self.loop.time(), hits))


def caught(seed: int) -> bool:
    """Whether the oracle finds something in one fault-free history of the naive design."""
    rng = random.Random(f"naive/{seed}")
    plan = replace(
        plans.calm(seed),
        source_ordered=(False, False),
        resend_share=0.0,
        patches=False,
        documents=3,
        operations=rng.randint(2, 6),
        delete_share=rng.choice([0.1, 0.25, 0.4]),
        searches=23,
        active_seconds=400.0,
    )
    world = NaiveWorld(plan)
    try:
        world.loop.run_until_complete(world.live())
    finally:
        world.loop.close()
    judge = oracle.Oracle(world.history)
    violations = judge.judge()
    finals = {search.tenant: search for search in world.history.searches[-len(TENANTS) :]}
    for uid, document, expected in judge.expected():
        words = {word for hit in finals[uid].hits or () if hit.document == document for word in hit.text.split()}
        if words != (set(expected.words) if expected is not None else set()):
            return True
    return bool(violations)
