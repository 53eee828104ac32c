"""The deployment of one history: production services as simulated processes over shared stores, started and restarted.

Invariant: nothing of ours is replaced. Processes share only what real ones share: the ledger's database, the queues,
the blobs and the vector store; each reaches them through its own faulty ports, and loses all else when it dies.
"""

import asyncio
import functools
import random
import zlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from bloomweaver.adapters.blobs import memory as memory_blobs
from bloomweaver.adapters.embedders import memory as memory_embedder
from bloomweaver.adapters.queues import memory as memory_queues
from bloomweaver.adapters.vectors import memory as memory_vectors
from bloomweaver.domain import errors, identity, models
from bloomweaver.domain.documents import Chunking, Collection, Ordering, Pipeline
from bloomweaver.domain.events import Lane
from bloomweaver.domain.identity import CollectionUid, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.embedder import service as embedder_service
from bloomweaver.encoding import batcher
from bloomweaver.ports import embedders, queues
from bloomweaver.reconciler import service as reconciler_service
from bloomweaver.runtime import consumer
from bloomweaver.search import service as search_service
from bloomweaver.testing import chaos, faults, faulty_vectors, loop
from bloomweaver.text import parsing
from bloomweaver.webhook import managing
from bloomweaver.webhook import service as webhook_service
from bloomweaver.writer import service as writer_service
from tests.simulation import databases, histories, plans, taps

SPECS = (
    memory_embedder.spec_of(name="mem-a", dimension=8, max_tokens=30),
    memory_embedder.spec_of(name="mem-b", dimension=9, max_tokens=30, prefix="query: "),
)
SPACES = tuple(models.space_of(spec) for spec in SPECS)
WORKER_PACE = consumer.Pace(limit=4, handlers=2, wait_seconds=600.0, visibility_seconds=30.0, pause_seconds=1.0)
CONFIRMING = writer_service.Confirming(timeout_seconds=8.0, first_pause_seconds=0.2, longest_pause_seconds=2.0)

Main = Coroutine[Any, Any, None]


def first_pipeline() -> Pipeline:
    """What every collection begins with."""
    pipe = identity.pipe_of(space=SPACES[0], max_tokens=12, overlap_tokens=0, revision="1", epoch=1)
    return Pipeline(pipe, SPACES[0], SPECS[0].name, Chunking(12), "1")


class Offer:
    """The models of this deployment, as the webhook knows them."""

    default = SPECS[0].name

    async def find(self, name: str) -> managing.OfferedModel:
        """See managing.Models."""
        number = [spec.name for spec in SPECS].index(name)
        spec = SPECS[number]
        return managing.OfferedModel(name, SPACES[number], spec.dimension, spec.room(models.Kind.DOCUMENT))


@functools.cache
def embedder(number: int) -> memory_embedder.MemoryEmbedder:
    """Stateless but for a cache, so all histories share it."""
    return memory_embedder.MemoryEmbedder(SPECS[number], fault=refuse_poison)


def refuse_poison(passages: Sequence[embedders.Passage]) -> None:
    """A text that the model cannot take fails the batch that it is in."""
    if any(histories.Fate.POISON in passage.text for passage in passages):
        raise errors.PermanentError(Reason.EMBEDDING_FAILED, "the model does not take this text")


@dataclass(slots=True)
class Running:
    """A simulated process, the service inside it, and how to stop it in good order."""

    host: loop.Host
    service: Any
    main: Main
    collections: managing.Collections | None = None
    stop: Callable[[], None] = lambda: None


class World:
    """One deployment. `start` brings a role up, also again after a crash; `running` finds it."""

    def __init__(
        self, plan: plans.Plan, *, history: histories.History, trace: Callable[..., None] | None = None
    ) -> None:
        self.plan = plan
        self.history = history
        self.loop = loop.VirtualLoop(random.Random(f"schedule/{plan.seed}"))
        self.rng = random.Random(f"clients/{plan.seed}")
        self.hash = 0
        self._told = trace
        self.chaos = chaos.Chaos(
            random.Random(f"faults/{plan.seed}"),
            plan.rates,
            self.loop,
            outages=[chaos.Outage(*outage) for outage in plan.outages],
            on_crash=self._crashed,
            trace=self._trace,
        )
        clock = loop.VirtualClock(self.loop)
        self.clock = clock
        self.database = databases.opened(clock=clock, nonces=loop.SeededNonces(random.Random(f"ledger/{plan.seed}")))
        self.queues = memory_queues.MemoryQueues(clock=clock)
        self.blobs = memory_blobs.MemoryBlobs(clock=clock)
        self.vectors = faulty_vectors.LaggingVectors(
            memory_vectors.MemoryVectors, replicas=plan.replicas, chaos=self.chaos, positions=plan.positions
        )
        self.taps = taps.Taps(self)
        self.deployment = ""
        self.rolled_out: frozenset[str] | None = None
        self.lossy = False
        self.running: dict[str, Running] = {}
        self.off: set[str] = set()
        self.searchers: list[search_service.SearchService] = []
        self.batchers: list[batcher.Batcher] = []
        self.dimensions: dict[str, int] = {}
        self.lives: dict[tuple[str, str], list[CollectionUid]] = {}
        self._nonces = random.Random(f"nonces/{plan.seed}")
        self.roles = self._roles()

    @property
    def removed(self) -> set[str]:
        """Lives of collections that were deleted."""
        return {removal.uid for removal in self.history.removals}

    def tell(self, who: str, what: str, outcome: str) -> None:
        """A line of the timeline that no port call makes."""
        self._trace(who, what, outcome)

    def remember(self, made: Pipeline) -> Pipeline:
        """What a namespace of this pipeline may hold."""
        self.dimensions[made.pipe] = SPECS[SPACES.index(made.space)].dimension
        return made

    async def make_collection(self, tenant: str, name: str, *, ordering: Ordering) -> None:
        """As an administrator does, with nothing going wrong."""
        first = first_pipeline()
        made, new = await self.database.registry.create_collection(
            TenantId(tenant), name, ordering=ordering, description="", pipeline=first
        )
        if new:
            self.lived(made, first)

    def lived(self, made: Collection, first: Pipeline) -> None:
        """A new life of a collection."""
        self.remember(first)
        self.lives.setdefault((made.tenant, made.name), []).append(made.uid)

    async def pass_time(self, seconds: float) -> None:
        """Much time at once, while nothing runs."""
        await asyncio.sleep(seconds)

    def unhandled(self, loop_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio complains of: an error that nobody looked at is a bug, but for those of dead processes."""
        error = context.get("exception")
        if not isinstance(error, loop.Killed | None):
            self.history.violated("I0", self.loop.time(), f"{context.get('message')}: {error!r}")

    def close(self) -> None:
        """The stores of this history go."""
        self.database.close()

    def _roles(self) -> dict[str, Callable[[loop.Host], Running]]:
        roles: dict[str, Callable[[loop.Host], Running]] = {"webhook-1": self._webhook, "webhook-2": self._webhook}
        for number, space in enumerate(SPACES):
            for index, revisions in enumerate(self.plan.releases, 1):
                name = f"embedder-{number}-{index}"
                roles[name] = functools.partial(self._embedder, number=number, space=space, revisions=revisions)
        for lane in (Lane.CREATE, Lane.UPDATE, Lane.UPDATE, Lane.DELETE):
            index = sum(name.startswith(f"writer-{lane}") for name in roles) + 1
            roles[f"writer-{lane}-{index}"] = functools.partial(self._writer, lane=lane)
        roles["search-1"] = self._search
        for index in range(1, self.plan.reconcilers + 1):
            roles[f"reconciler-{index}"] = self._reconciler
        return roles

    def start(self, name: str, *, idle: bool = False) -> None:
        """A new process of that role, unless the role is switched off. idle: it only does what it is told to."""
        old = self.running.get(name)
        if name in self.off or (old is not None and old.host.alive):
            return
        skew = self.plan.skew_seconds * (2.0 * self.chaos.rng.random() - 1.0)
        host = loop.Host(name, loop=self.loop, skew_seconds=skew)
        running = self.roles[name](host)
        self.running[name] = running
        if idle:
            running.main.close()
            return
        host.start(running.main).add_done_callback(functools.partial(self._ended, host))

    def stop(self, name: str) -> None:
        """Scale to zero: an orderly stop, and an end to it half a minute later."""
        self.off.add(name)
        running = self.running.get(name)
        if running is not None:
            running.stop()
            self.loop.call_later(30.0, running.host.kill)

    def resume(self, name: str) -> None:
        """Scale from zero."""
        self.off.discard(name)
        if name in self.running:
            self.running[name].host.kill()
        self.start(name)

    def kill_all(self) -> None:
        """Nothing runs any more, and nothing comes back."""
        for name, running in self.running.items():
            self.off.add(name)
            running.host.kill()

    def alive(self, role: str) -> list[Running]:
        """The processes of a role that answer now."""
        return [r for name, r in self.running.items() if name.startswith(role) and r.host.alive]

    def _crashed(self, host: loop.Host) -> None:
        host.kill()
        delay = self.chaos.rng.random() * self.plan.rates.restart_seconds
        self.loop.call_later(delay, self.start, host.name)

    def _ended(self, host: loop.Host, task: asyncio.Task[None]) -> None:
        """A process that ends by itself, other than when it was told to stop, has a bug."""
        if not host.alive or task.cancelled():
            return
        error = task.exception()
        if error is not None or host.name not in self.off:
            self.history.violated("I0", self.loop.time(), f"{host.name} ended by itself: {error!r}")
        host.kill()
        self.loop.call_later(1.0, self.start, host.name)

    def _trace(self, host: str, site: str, what: str) -> None:
        self.hash = zlib.crc32(f"{self.loop.time()!r} {host} {site} {what}".encode(), self.hash)
        if self._told is not None:
            self._told(self.loop.time(), host, site, what)

    def _database(self, host: loop.Host, port: str) -> Any:
        inner = getattr(self.database, port)
        return faults.faulty(inner, host=host, chaos=self.chaos, seen=self.taps.seen)

    def _common(self, host: loop.Host) -> dict[str, Any]:
        return {
            "ledger": self._database(host, "ledger"),
            "queues": faults.FaultyQueues(
                self.queues,
                host=host,
                chaos=self.chaos,
                on_ack=self.taps.acked,
                on_lost=self.taps.lost,
                on_sent=self.taps.sent,
            ),
        }

    def _faulty_blobs(self, host: loop.Host) -> faults.FaultyBlobs:
        return faults.FaultyBlobs(self.blobs, host=host, chaos=self.chaos)

    def _faulty_vectors(self, host: loop.Host) -> faulty_vectors.FaultyVectors:
        return faulty_vectors.FaultyVectors(self.vectors, host=host, chaos=self.chaos, pure=self.taps.pure)

    def _batcher(self, host: loop.Host, number: int) -> batcher.Batcher:
        model = faults.FaultyEmbedder(
            embedder(number),
            host=host,
            chaos=self.chaos,
            fatal=self.taps.kills,
            broken=lambda text: histories.Fate.NAN in text,
        )
        made = batcher.Batcher(model)
        self.batchers.append(made)
        return made

    def _webhook(self, host: loop.Host) -> Running:
        common, registry = self._common(host), self._database(host, "registry")
        service = webhook_service.WebhookService(
            **common,
            registry=registry,
            blobs=self._faulty_blobs(host),
            clock=loop.VirtualClock(self.loop, skew_seconds=host.skew_seconds),
            nonces=loop.SeededNonces(self._nonces),
            deployment=self.deployment,
            limits=webhook_service.Limits(),
        )
        collections = managing.Collections(
            registry=registry,
            ledger=common["ledger"],
            models=Offer(),
            revision=max(self.plan.releases[-1]) if host.name == "webhook-2" else "1",
            soak_seconds=self.plan.soak_seconds,
        )
        return Running(host, service, service.run(), collections)

    def _embedder(self, host: loop.Host, *, number: int, space: str, revisions: frozenset[str]) -> Running:
        common, encoder = self._common(host), self._batcher(host, number)

        async def offload(split: embedder_service.Split) -> Any:
            await asyncio.sleep(0)
            return split()

        service = embedder_service.EmbedderService(
            **common,
            blobs=self._faulty_blobs(host),
            nonces=loop.SeededNonces(self._nonces),
            encoder=encoder,
            extraction=embedder_service.Extraction(parsing.parse, self.rolled_out or revisions, offload),
            deployment=self.deployment,
        )
        loop_ = self._consumer(common, queues.queue_name(Lane.CHANGE, space), service, sift=service.sift)

        async def main() -> None:
            async with encoder:
                await loop_.run()

        return Running(host, service, main(), stop=loop_.stop)

    def _writer(self, host: loop.Host, *, lane: Lane) -> Running:
        common = self._common(host)
        service = writer_service.WriterService(
            **common,
            blobs=self._faulty_blobs(host),
            vectors=self._faulty_vectors(host),
            clock=loop.VirtualClock(self.loop, skew_seconds=host.skew_seconds),
            deployment=self.deployment,
            confirming=CONFIRMING,
            on_flip=lambda collection, seconds: None,
        )
        loop_ = self._consumer(common, queues.queue_name(lane), service)
        return Running(host, service, loop_.run(), stop=loop_.stop)

    def _consumer(
        self, common: dict[str, Any], queue: str, worker: queues.Worker, *, sift: consumer.Sift | None = None
    ) -> consumer.Consumer:
        return consumer.Consumer(
            queue=queue, **common, worker=worker, pace=WORKER_PACE, on_trouble=self.taps.troubled, sift=sift
        )

    def _search(self, host: loop.Host) -> Running:
        encoders = {space: self._batcher(host, number) for number, space in enumerate(SPACES)}
        service = search_service.SearchService(
            **self._common(host),
            vectors=self._faulty_vectors(host),
            encoder=search_service.BatchedQueries(encoders),
            deployment=self.deployment,
        )
        self.searchers.append(service)

        async def main() -> None:
            async with encoders[SPACES[0]], encoders[SPACES[1]]:
                await asyncio.Event().wait()

        return Running(host, service, main())

    def _reconciler(self, host: loop.Host) -> Running:
        service = reconciler_service.ReconcilerService(
            **self._common(host),
            healing=self._database(host, "healing"),
            registry=self._database(host, "registry"),
            blobs=self._faulty_blobs(host),
            vectors=self._faulty_vectors(host),
            clock=loop.VirtualClock(self.loop, skew_seconds=host.skew_seconds),
            deployment=self.deployment,
            pace=reconciler_service.Pace(round_seconds=self.plan.round_seconds, sweep_seconds=self.plan.sweep_seconds),
        )

        async def main() -> None:
            while True:
                report = await service.round()
                self.taps.reported(report)
                await asyncio.sleep(self.plan.round_seconds)

        return Running(host, service, main())
