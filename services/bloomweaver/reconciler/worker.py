"""What heals in a process: a round every few seconds, and the gauges that only who sees everything can set."""

from collections import Counter

from bloomweaver.ports import opened
from bloomweaver.reconciler import auditing, service
from bloomweaver.runtime import metrics, stages


def service_of(ports: opened.Ports) -> service.ReconcilerService:
    """The reconciler over open ports."""
    return service.ReconcilerService(
        ledger=ports.ledger,
        healing=ports.healing,
        registry=ports.registry,
        queues=ports.queues,
        blobs=ports.blobs,
        vectors=ports.vectors,
        deployment=ports.deployment,
        clock=ports.clock,
        pace=service.Pace(),
    )


def auditor_of(ports: opened.Ports, reconciler: service.ReconcilerService) -> auditing.Auditor:
    """The audit, which shares the reconciler's sweeper."""
    return auditing.Auditor(
        ledger=ports.ledger,
        healing=ports.healing,
        registry=ports.registry,
        blobs=ports.blobs,
        vectors=ports.vectors,
        sweeper=reconciler.sweeper,
        deployment=ports.deployment,
    )


def begin(
    stages: stages.Stages, ports: opened.Ports, reconciler: service.ReconcilerService, *, metrics: metrics.Metrics
) -> None:
    """Begin to heal."""

    async def once() -> None:
        report = await reconciler.round()
        for action, count in report.done.items():
            if count:
                metrics.count_action(action, count)
        await _observe(ports, metrics)

    stages.repeat("reconciler", once, seconds=service.Pace().round_seconds)


async def _observe(ports: opened.Ports, metrics: metrics.Metrics) -> None:
    """Gauges: queue depths (the measured queues note them), documents by state, and what waits longest."""
    await ports.queues.depths()
    now = await ports.healing.now()
    ages: dict[str, float] = {}
    documents: Counter[str] = Counter()
    for collection in await ports.registry.collections():
        oldest = await ports.ledger.oldest_pending(collection.tenant, collection.uid)
        ages[collection.name] = max(ages.get(collection.name, 0.0), now - oldest if oldest else 0.0)
        counts = await ports.ledger.counts(collection.tenant, collection.uid)
        documents.update({str(state): count for state, count in counts.items()})
    metrics.set_oldest_pending(ages)
    metrics.set_documents(documents)
