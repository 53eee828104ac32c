"""What embeds in a process: the consumer of a model's change queue, over a batcher that others may share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

from bloomweaver.domain import chunking, models
from bloomweaver.domain.errors import TransientError
from bloomweaver.domain.events import Hint, Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.embedder import measuring, service
from bloomweaver.encoding import pool, remembering
from bloomweaver.ports import opened, queues
from bloomweaver.runtime import consumer, health, process, stages, tracing
from bloomweaver.text import parsing

# Few documents per receive, many receives at once: the batcher needs the chunks of many to fill its window.
PACE = consumer.Pace(limit=2, handlers=16)
MEASURE_SECONDS = 15.0

Split = Callable[[], Sequence[chunking.Chunk]]
Offload = Callable[[Split], Awaitable[Sequence[chunking.Chunk]]]


@asynccontextmanager
async def splitting() -> AsyncIterator[Offload]:
    """One thread that texts are parsed and split on, so that a long one does not hold up the loop."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="split")

    async def offload(split: Split) -> Sequence[chunking.Chunk]:
        return await asyncio.get_running_loop().run_in_executor(threads, split)

    try:
        yield offload
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def begin(
    stages: stages.Stages,
    ports: opened.Ports,
    loaded: pool.Loaded,
    *,
    offload: Offload,
    pace: consumer.Pace = PACE,
    watched: Callable[[queues.Worker], queues.Worker] = lambda worker: worker,
) -> None:
    """Begin to work the change queue of a model. watched: puts somebody around the worker who times it."""
    embedder = service.EmbedderService(
        ledger=ports.ledger,
        queues=ports.queues,
        blobs=ports.blobs,
        nonces=ports.nonces,
        encoder=tracing.watched(loaded.batcher, stages.tracer, "embedder", ("encode",)),
        extraction=service.Extraction(parsing.parse, frozenset({parsing.PIPELINE_REVISION}), offload),
        deployment=ports.deployment,
    )
    queue = queues.queue_name(Lane.CHANGE, loaded.space)
    stages.consume(queue, watched(embedder), pace=pace, sift=embedder.sift)


def begin_unavailable(stages: stages.Stages, *, space: str, why: str) -> None:
    """Tell whoever waits for a space that nobody here can work in it."""
    stages.consume(queues.queue_name(Lane.CHANGE, space), Unavailable(why), pace=PACE)


@asynccontextmanager
async def running(
    ports: opened.Ports,
    open_model: pool.OpenModel,
    host: process.Host,
    *,
    model: str,
    visibility_seconds: float,
    drain_seconds: float,
) -> AsyncIterator[None]:
    """Embedder as a process: one model and its change queue, until the context ends."""
    ports = tracing.traced(ports, host.tracer)
    async with (
        pool.ModelPool(open_model, on_batch=host.metrics.observe_batch, memory=remembering.memory_of(ports)) as models,
        splitting() as offload,
        stages.hosted(ports, host, drain_seconds=drain_seconds) as parts,
    ):
        loaded = await models.load(model)
        pace = replace(PACE, visibility_seconds=visibility_seconds)
        meter = _meter(ports, loaded)
        begin(parts, ports, loaded, offload=offload, pace=pace, watched=meter.watched)
        parts.repeat("measure", meter.publish, seconds=MEASURE_SECONDS)
        probes = health.probes_of(ports)
        host.health.watch(probes=probes, needed=("ledger", "queues", "blobs"), check=parts.obstacles)
        yield


def _meter(ports: opened.Ports, loaded: pool.Loaded) -> measuring.Measuring:
    return measuring.Measuring(
        ports.blobs,
        lambda: loaded.batcher.figures()[models.Kind.DOCUMENT],
        deployment=ports.deployment,
        space=loaded.space,
        nonces=ports.nonces,
        seconds=ports.clock.monotonic,
    )


class Unavailable:
    """Stands in for an embedder that cannot be here: what waits for it learns why, and waits on."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        """Puts every hint off, uncounted."""
        retry_seconds = service.UNAVAILABLE_RETRY_SECONDS
        away = TransientError(Reason.PIPELINE_UNAVAILABLE, self._why, retry_after_seconds=retry_seconds)
        return [queues.Trouble(hint, hint.seq, hint.pipe, away) for hint in hints if hint.pipe is not None]
