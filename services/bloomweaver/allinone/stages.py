"""The stages of the pipeline in one process: the same services and consumers as on a cluster, joined by the queues.

A model's change queue gets its consumer when the model is loaded; the writers and the reconciler run from the start.
Stopping drains: consumers stop receiving, finish or release what they hold, and only then do stores close.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from bloomweaver.allinone import models
from bloomweaver.domain import chunking
from bloomweaver.domain.errors import TransientError
from bloomweaver.domain.events import Hint, Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.embedder import service as embedder_service
from bloomweaver.ports import blobs, healing, history, ledger, queues, registry, vectors
from bloomweaver.ports import clock as clocks
from bloomweaver.reconciler import service as reconciler_service
from bloomweaver.runtime import consumer, lifecycle, metrics
from bloomweaver.text import parsing
from bloomweaver.writer import service as writer_service

REVISION = f"{parsing.REVISION}.{chunking.REVISION}"
# Few documents per receive, many receives at once: the batcher needs the chunks of many to fill its window.
EMBEDDING_PACE = consumer.Pace(limit=2, handlers=16)
WRITING_PACE = consumer.Pace(limit=64, handlers=2)
DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside, open."""

    ledger: ledger.Ledger
    healing: healing.Healing
    registry: registry.Registry
    history: history.History
    queues: queues.Queues
    blobs: blobs.Blobs
    vectors: vectors.Vectors
    clock: clocks.Clock
    nonces: clocks.Nonces
    deployment: str


class Unavailable:
    """Stands in for an embedder that cannot be here: what waits for it learns why, and waits on."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        """Puts every hint off, uncounted."""
        retry_seconds = embedder_service.UNAVAILABLE_RETRY_SECONDS
        away = TransientError(Reason.PIPELINE_UNAVAILABLE, self._why, retry_after_seconds=retry_seconds)
        return [queues.Trouble(hint, hint.seq, hint.pipe, away) for hint in hints if hint.pipe is not None]


class Stages:
    """Everything behind the webhook. Use as a context: entering starts, leaving drains."""

    def __init__(
        self,
        ports: Ports,
        pool: models.ModelPool,
        *,
        metrics: metrics.Metrics,
        on_death: Callable[[], None],
        unavailable: Mapping[str, str],
    ) -> None:
        self._ports = ports
        self._unavailable = unavailable
        self._on_death = on_death
        self._stopping = False
        self._pool = pool
        self._metrics = metrics
        self._splitters = ThreadPoolExecutor(1, thread_name_prefix="split")
        self._consumers: list[consumer.Consumer] = []
        self._running: list[asyncio.Task[None]] = []
        self._healer: asyncio.Task[None] | None = None
        self.reconciler = reconciler_service.ReconcilerService(
            ledger=ports.ledger,
            healing=ports.healing,
            registry=ports.registry,
            queues=ports.queues,
            blobs=ports.blobs,
            vectors=ports.vectors,
            deployment=ports.deployment,
            clock=ports.clock,
            pace=reconciler_service.Pace(),
        )

    async def __aenter__(self) -> "Stages":
        for lane in (Lane.CREATE, Lane.UPDATE, Lane.DELETE):
            self._consume(queues.queue_name(lane), self._writer(lane), pace=WRITING_PACE)
        for space, why in self._unavailable.items():
            self._consume(queues.queue_name(Lane.CHANGE, space), Unavailable(why), pace=EMBEDDING_PACE)
        for loaded in self._pool.loaded().values():
            self.embed(loaded)
        self._pool.on_loaded = self.embed
        self._healer = asyncio.create_task(self._heal(), name="reconciler")
        self._healer.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        self._pool.on_loaded = lambda loaded: None
        for each in self._consumers:
            each.stop()
        await asyncio.wait(self._running, timeout=DRAIN_SECONDS)
        everything = [*self._running, *([self._healer] if self._healer else [])]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
        self._splitters.shutdown(wait=False, cancel_futures=True)

    def embed(self, loaded: models.Loaded) -> None:
        """Begin to work the change queue of a model."""
        ports = self._ports
        service = embedder_service.EmbedderService(
            ledger=ports.ledger,
            queues=ports.queues,
            blobs=ports.blobs,
            nonces=ports.nonces,
            encoder=loaded.batcher,
            extraction=embedder_service.Extraction(parsing.parse, frozenset({REVISION}), self._offload),
            deployment=ports.deployment,
        )
        self._consume(queues.queue_name(Lane.CHANGE, loaded.space), service, pace=EMBEDDING_PACE)

    def died(self) -> str | None:
        """The name of a stage that ended by itself, for readiness."""
        everything = [*self._running, *([self._healer] if self._healer else [])]
        return next((task.get_name() for task in everything if task.done()), None)

    def _writer(self, lane: Lane) -> writer_service.WriterService:
        ports = self._ports

        def shown(collection: str, seconds: float) -> None:
            self._metrics.observe_freshness(str(lane), collection, cold=False, seconds=seconds)

        return writer_service.WriterService(
            ledger=ports.ledger,
            queues=ports.queues,
            blobs=ports.blobs,
            vectors=ports.vectors,
            clock=ports.clock,
            deployment=ports.deployment,
            confirming=writer_service.Confirming(),
            on_flip=shown,
        )

    def _consume(self, queue: str, worker: queues.Worker, *, pace: consumer.Pace) -> None:
        stage = queue.partition(":")[0]
        loop = consumer.Consumer(
            queue=queue,
            queues=self._ports.queues,
            ledger=self._ports.ledger,
            worker=worker,
            pace=pace,
            on_trouble=lambda reason: self._metrics.count_failure(stage, str(reason)),
        )
        self._consumers.append(loop)
        task = asyncio.create_task(loop.run(), name=queue)
        task.add_done_callback(self._ended)
        self._running.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._stopping:
            structlog.get_logger("stages").error("stage_ended", stage=task.get_name(), exc_info=task.exception())
            self._on_death()

    async def _heal(self) -> None:
        async def once() -> None:
            report = await self.reconciler.round()
            for action, count in report.done.items():
                if count:
                    self._metrics.count_action(action, count)
            await self._observe()

        await lifecycle.every(reconciler_service.Pace().round_seconds, once)

    async def _observe(self) -> None:
        """Gauges: queue depths (the measured queues note them), documents by state, and what waits longest."""
        await self._ports.queues.depths()
        now = await self._ports.healing.now()
        ages: dict[str, float] = {}
        documents: Counter[str] = Counter()
        for collection in await self._ports.registry.collections():
            oldest = await self._ports.ledger.oldest_pending(collection.tenant, collection.uid)
            ages[collection.name] = max(ages.get(collection.name, 0.0), now - oldest if oldest else 0.0)
            counts = await self._ports.ledger.counts(collection.tenant, collection.uid)
            documents.update({str(state): count for state, count in counts.items()})
        self._metrics.set_oldest_pending(ages)
        self._metrics.set_documents(documents)

    async def _offload(self, split: Callable[[], Sequence[chunking.Chunk]]) -> Sequence[chunking.Chunk]:
        loop = asyncio.get_running_loop()
        work: Awaitable[Sequence[chunking.Chunk]] = loop.run_in_executor(self._splitters, split)
        return await work
