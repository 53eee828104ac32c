"""The whole pipeline over `mem://` adapters, driven by hand: nothing runs beside the test, time stands still.

async with pipelines.opened() as pipe:
    await pipe.put("a", "one two three")
    await pipe.settle()                 # works every hint until no queue holds one
    assert await pipe.find("one") == ["a"]
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bloomweaver.adapters import opening
from bloomweaver.adapters.embedders import memory
from bloomweaver.domain import chunking, documents, events, identity
from bloomweaver.domain.events import Accepted, ChangeType, Lane
from bloomweaver.embedder import service as embedder_service
from bloomweaver.encoding import batcher
from bloomweaver.ports import ledger, queues, vectors
from bloomweaver.reconciler import service as reconciler_service
from bloomweaver.runtime import consumer
from bloomweaver.search import service as search_service
from bloomweaver.testing import clocks
from bloomweaver.text import parsing
from bloomweaver.webhook import service as webhook_service
from bloomweaver.writer import service as writer_service
from tests.support import databases

Look = ledger.Look
TENANT = identity.TenantId("acme")
REVISION = "1.1"
CALLER = webhook_service.Caller(TENANT, "key:test", "req-1")


@dataclass
class Pipeline:
    """Everything, open. `workers` is by queue name; `embedder.fault` and `store` are there to be played with."""

    clock: clocks.ManualClock
    store: opening.Store
    embedder: memory.MemoryEmbedder
    webhook: webhook_service.WebhookService
    search: search_service.SearchService
    reconciler: reconciler_service.ReconcilerService
    workers: dict[str, queues.Worker]
    deployment: str
    flips: list[tuple[str, float]]
    nonces: databases.CountedNonces
    encoder: batcher.Batcher

    @property
    def ledger(self) -> ledger.Ledger:
        return self.store.database.ledger

    @property
    def change_queue(self) -> str:
        return queues.queue_name(Lane.CHANGE, self.embedder.space)

    async def put(self, document_id: str, text: str, **changes: Any) -> Accepted:
        submission = webhook_service.Submission("default", document_id, ChangeType.UPSERT, text=text, **changes)
        return await self.send(submission)

    async def delete(self, document_id: str) -> Accepted:
        return await self.send(webhook_service.Submission("default", document_id, ChangeType.DELETE))

    async def patch(self, document_id: str, **patch: Any) -> Accepted:
        asked = events.MetaPatch(**patch)
        return await self.send(webhook_service.Submission("default", document_id, ChangeType.UPDATE, patch=asked))

    async def send(self, submission: webhook_service.Submission) -> Accepted:
        (result,) = await self.webhook.accept([submission], caller=CALLER)
        assert isinstance(result, Accepted), result
        await self.webhook.flush()
        return result

    async def collection(self) -> documents.Collection:
        found = await self.store.database.registry.collection(TENANT, "default")
        assert found is not None
        return found

    async def look(self, document_id: str) -> Look:
        uid = (await self.collection()).uid
        (look,) = await self.ledger.look([documents.DocumentKey(uid, identity.DocumentId(document_id))])
        assert look is not None
        return look

    def consumer(self, queue: str) -> consumer.Consumer:
        return consumer.Consumer(
            queue=queue,
            queues=self.store.queues,
            ledger=self.ledger,
            worker=self.workers[queue],
            pace=consumer.Pace(wait_seconds=0.0, pause_seconds=0.0),
            on_trouble=lambda reason: None,
        )

    async def work(self, queue: str, *, limit: int = 10) -> int:
        """One receive of one queue, handled as the consumer loop does; gives how many hints there were."""
        batch = await self.store.queues.receive(queue, limit=limit, visibility_seconds=60.0)
        for group in consumer.groups(batch):
            await self.consumer(queue).handle(group)
        return len(batch)

    async def settle(self, *, only: Sequence[str] | None = None) -> None:
        """Work all queues until none gives anything."""
        for _ in range(100):
            worked = [await self.work(queue) for queue in (only or list(self.workers))]
            if not any(worked):
                return
        raise AssertionError("the queues never became empty")

    async def find(self, query: str, *, limit: int = 10) -> list[str]:
        question = search_service.Question(query, (await self.collection(),), limit=limit)
        answer = await self.search.search(question)
        return [hit.chunk.ref.key.document_id for hit in answer.hits]

    async def upsert_stray(self, uid: identity.CollectionUid, document_id: str, seq: int, pipe: identity.Pipe) -> None:
        """A vector that no version owns, as a write leaves it that lands too late."""
        (vector_id,) = identity.vector_ids(document_id, seq, pipe, 1)
        record = vectors.Record(vector_id, document_id, seq, 0, np.eye(8, dtype=np.float32)[0], {})
        await self.store.vectors.upsert(identity.namespace_of(self.deployment, uid, pipe), [record])

    async def stored_ids(self) -> set[str]:
        found: set[str] = set()
        for namespace in await self.store.vectors.namespaces(""):
            async for page in self.store.vectors.ids(namespace):
                found.update(page)
        return found


async def _inline(split: Callable[[], Sequence[chunking.Chunk]]) -> Sequence[chunking.Chunk]:
    return split()


@contextlib.asynccontextmanager
async def opened(
    *,
    ordering: documents.Ordering = documents.Ordering.ARRIVAL,
    max_tokens: int = 32,
    revisions: frozenset[str] = frozenset({REVISION}),
    wrap: Callable[[opening.Store], opening.Store] = lambda store: store,
    url: str = "mem://",
    access: opening.Access | None = None,
) -> AsyncIterator[Pipeline]:
    """A pipeline with the collection `default` in the asked ordering. wrap: puts fault-injecting ports in.

    url: where everything is kept. A server's database has a clock of its own, which no test can put forward.
    """
    clock, nonces = clocks.ManualClock(), databases.CountedNonces()
    async with opening.open_store(opening.profile(url), clock=clock, nonces=nonces, access=access) as plain:
        store = wrap(plain)
        database = store.database
        embedder = memory.MemoryEmbedder(memory.spec_of(max_tokens=max_tokens + 2))
        pipe = identity.pipe_of(
            space=embedder.space, max_tokens=max_tokens, overlap_tokens=0, revision=REVISION, epoch=1
        )
        line = documents.Pipeline(pipe, embedder.space, "mem", documents.Chunking(max_tokens), REVISION)
        await database.registry.ensure_tenant(TENANT, pipeline=line)
        if ordering is documents.Ordering.SOURCE:
            first = await database.registry.collection(TENANT, "default")
            assert first is not None
            await database.registry.delete_collection(first.uid)
            await database.registry.create_collection(
                TENANT, "default", ordering=ordering, description="", pipeline=replace(line)
            )
        async with batcher.Batcher(embedder) as encoder:
            yield await _assemble(store, clock, nonces, embedder, encoder, revisions)


async def _assemble(
    store: opening.Store,
    clock: clocks.ManualClock,
    nonces: databases.CountedNonces,
    embedder: memory.MemoryEmbedder,
    encoder: batcher.Batcher,
    revisions: frozenset[str],
) -> Pipeline:
    database = store.database
    deployment = await database.registry.deployment()
    flips: list[tuple[str, float]] = []
    writer = writer_service.WriterService(
        ledger=database.ledger,
        queues=store.queues,
        blobs=store.blobs,
        vectors=store.vectors,
        clock=clock,
        deployment=deployment,
        confirming=writer_service.Confirming(timeout_seconds=0.0),
        on_flip=lambda collection, seconds: flips.append((collection, seconds)),
    )
    building = embedder_service.EmbedderService(
        ledger=database.ledger,
        queues=store.queues,
        blobs=store.blobs,
        nonces=nonces,
        encoder=encoder,
        extraction=embedder_service.Extraction(parsing.parse, revisions, _inline),
        deployment=deployment,
    )
    workers: dict[str, queues.Worker] = {queues.queue_name(Lane.CHANGE, embedder.space): building}
    workers.update({queues.queue_name(lane): writer for lane in (Lane.CREATE, Lane.UPDATE, Lane.DELETE)})
    return Pipeline(
        clock=clock,
        store=store,
        embedder=embedder,
        webhook=webhook_service.WebhookService(
            ledger=database.ledger,
            registry=database.registry,
            queues=store.queues,
            blobs=store.blobs,
            clock=clock,
            nonces=nonces,
            deployment=deployment,
            limits=webhook_service.Limits(),
        ),
        search=search_service.SearchService(
            ledger=database.ledger,
            vectors=store.vectors,
            queues=store.queues,
            encoder=search_service.BatchedQueries({embedder.space: encoder}),
            deployment=deployment,
        ),
        reconciler=reconciler_service.ReconcilerService(
            ledger=database.ledger,
            healing=database.healing,
            registry=database.registry,
            queues=store.queues,
            blobs=store.blobs,
            vectors=store.vectors,
            clock=clock,
            deployment=deployment,
            pace=reconciler_service.Pace(),
        ),
        workers=workers,
        deployment=deployment,
        flips=flips,
        nonces=nonces,
        encoder=encoder,
    )
