"""What writes in a process: a consumer for each lane that it is given."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from bloomweaver.domain.events import Lane
from bloomweaver.ports import opened, queues
from bloomweaver.runtime import consumer, health, metrics, process, stages, tracing
from bloomweaver.writer import service

PACE = consumer.Pace(limit=64, handlers=2)
LANES = (Lane.CREATE, Lane.UPDATE, Lane.DELETE)


def begin(
    stages: stages.Stages,
    ports: opened.Ports,
    *,
    lanes: Iterable[Lane] = LANES,
    metrics: metrics.Metrics,
    pace: consumer.Pace = PACE,
) -> None:
    """Begin to work the lanes."""
    for lane in lanes:
        stages.consume(queues.queue_name(lane), _writer(ports, lane, metrics), pace=pace)


@contextlib.asynccontextmanager
async def running(
    ports: opened.Ports,
    host: process.Host,
    *,
    lanes: Iterable[Lane],
    visibility_seconds: float,
    drain_seconds: float,
) -> AsyncIterator[None]:
    """Writer as a process, until the context ends."""
    ports = tracing.traced(ports, host.tracer)
    async with stages.hosted(ports, host, drain_seconds=drain_seconds) as parts:
        pace = replace(PACE, visibility_seconds=visibility_seconds)
        begin(parts, ports, lanes=lanes, metrics=host.metrics, pace=pace)
        host.health.watch(probes=health.probes_of(ports), check=parts.obstacles)
        yield


def _writer(ports: opened.Ports, lane: Lane, metrics: metrics.Metrics) -> service.WriterService:
    def shown(collection: str, seconds: float) -> None:
        metrics.observe_freshness(str(lane), collection, cold=False, seconds=seconds)

    return service.WriterService(
        ledger=ports.ledger,
        queues=ports.queues,
        blobs=ports.blobs,
        vectors=ports.vectors,
        clock=ports.clock,
        deployment=ports.deployment,
        confirming=service.Confirming(),
        on_flip=shown,
    )
