"""Search over open ports and the models of this process, put together once for every composition."""

import fastapi

from bloomweaver.encoding import pool
from bloomweaver.ports import opened
from bloomweaver.runtime import metrics
from bloomweaver.search import api, catalogue, embeddings, service


def router(
    ports: opened.Ports, models: pool.ModelPool, *, offered: catalogue.Catalogue, metrics: metrics.Metrics
) -> fastapi.APIRouter:
    """Every route of search."""
    return api.router(
        api.Parts(
            search=service.SearchService(
                ledger=ports.ledger,
                vectors=ports.vectors,
                queues=ports.queues,
                encoder=service.BatchedQueries(models.batchers),
                deployment=ports.deployment,
            ),
            embeddings=embeddings.EmbeddingService(offered),
            registry=ports.registry,
            clock=ports.clock,
            metrics=metrics,
        )
    )
