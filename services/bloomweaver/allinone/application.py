"""The HTTP face of the whole service in one process: every route of webhook, search and audit over the same ports."""

from collections.abc import Sequence
from dataclasses import dataclass

import fastapi
import structlog

import bloomweaver
from bloomweaver.allinone import catalogue, models, stages
from bloomweaver.domain.errors import BloomWeaverError
from bloomweaver.domain.identity import TenantId
from bloomweaver.domain.models import require_stored
from bloomweaver.reconciler import api as reconciler_api
from bloomweaver.reconciler import auditing
from bloomweaver.runtime import metrics
from bloomweaver.runtime.web import application, authentication
from bloomweaver.search import api as search_api
from bloomweaver.search import embeddings
from bloomweaver.search import service as search_service
from bloomweaver.text import parsing
from bloomweaver.webhook import api as webhook_api
from bloomweaver.webhook import managing, sealing
from bloomweaver.webhook import service as webhook_service

TENANT = TenantId("default")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the routes need beside ports and models."""

    metrics: metrics.Metrics
    sealer: sealing.Sealer
    catalogue: catalogue.Catalogue
    stages: stages.Stages


def webhook_of(ports: stages.Ports) -> webhook_service.WebhookService:
    """The service that takes changes; its `run` has to run beside it."""
    return webhook_service.WebhookService(
        ledger=ports.ledger,
        registry=ports.registry,
        queues=ports.queues,
        blobs=ports.blobs,
        clock=ports.clock,
        nonces=ports.nonces,
        deployment=ports.deployment,
        limits=webhook_service.Limits(),
    )


def create(
    ports: stages.Ports,
    webhook: webhook_service.WebhookService,
    pool: models.ModelPool,
    collections: managing.Collections,
    around: Surroundings,
) -> fastapi.FastAPI:
    """The application with all routes."""
    authenticator = authentication.KeyAuthenticator(ports.registry.key, clock=ports.clock)

    async def readiness() -> Sequence[str]:
        dead = around.stages.died()
        return (f"The stage {dead} has ended.",) if dead else ()

    surroundings = application.Surroundings(
        clock=ports.clock,
        nonces=ports.nonces,
        metrics=around.metrics,
        authenticator=authenticator,
        readiness=readiness,
        open_prefixes=webhook_api.OPEN_PREFIXES,
    )
    routers = [
        *webhook_api.routers(_webhook_parts(ports, webhook, around, collections, authenticator)),
        search_api.router(_search_parts(ports, pool, around)),
        reconciler_api.router(_auditor(ports, around)),
    ]
    return application.create(surroundings, title="BloomWeaver", version=bloomweaver.__version__, routers=routers)


def collections_of(ports: stages.Ports, offered: catalogue.Catalogue) -> managing.Collections:
    """Making and re-indexing collections."""
    return managing.Collections(registry=ports.registry, ledger=ports.ledger, models=offered, revision=stages.REVISION)


async def begin(ports: stages.Ports, pool: models.ModelPool, collections: managing.Collections) -> dict[str, str]:
    """The first tenant with its collection, and every model that some collection is kept in.

    Gives the spaces that cannot be worked in, with why: a model that is gone, or another one than the stored vectors
    are of, keeps its own collections waiting, with `pipeline_unavailable`, and nobody else.
    """
    await collections.welcome(TENANT)
    unavailable: dict[str, str] = {}
    for collection in await ports.registry.collections():
        generation = await ports.registry.generation(collection.uid)
        for pipeline in generation.pipelines if generation else ():
            try:
                spec = (await pool.load(pipeline.model)).spec
                require_stored(spec, space=pipeline.space, dimension=spec.dimension)
            except BloomWeaverError as error:
                unavailable[pipeline.space] = error.detail
                structlog.get_logger("models").error("model_not_usable", model=pipeline.model, detail=error.detail)
    return unavailable


def _webhook_parts(
    ports: stages.Ports,
    webhook: webhook_service.WebhookService,
    around: Surroundings,
    collections: managing.Collections,
    authenticator: authentication.KeyAuthenticator,
) -> webhook_api.Parts:
    return webhook_api.Parts(
        service=webhook,
        collections=collections,
        ledger=ports.ledger,
        registry=ports.registry,
        history=ports.history,
        queues=ports.queues,
        clock=ports.clock,
        nonces=ports.nonces,
        metrics=around.metrics,
        sealer=around.sealer,
        forget_key=authenticator.invalidate,
        extract=lambda text, media_type: parsing.parse(text, media_type).text,
        version=bloomweaver.__version__,
        embedders=around.catalogue.statuses,
        probes={
            "ledger": ports.registry.deployment,
            "queues": ports.queues.depths,
            "vectors": lambda: ports.vectors.namespaces(f"{ports.deployment}."),
        },
    )


def _search_parts(ports: stages.Ports, pool: models.ModelPool, around: Surroundings) -> search_api.Parts:
    service = search_service.SearchService(
        ledger=ports.ledger,
        vectors=ports.vectors,
        queues=ports.queues,
        encoder=search_service.BatchedQueries(pool.batchers),
        deployment=ports.deployment,
    )
    return search_api.Parts(
        search=service,
        embeddings=embeddings.EmbeddingService(around.catalogue),
        registry=ports.registry,
        clock=ports.clock,
        metrics=around.metrics,
    )


def _auditor(ports: stages.Ports, around: Surroundings) -> auditing.Auditor:
    return auditing.Auditor(
        ledger=ports.ledger,
        healing=ports.healing,
        registry=ports.registry,
        blobs=ports.blobs,
        vectors=ports.vectors,
        sweeper=around.stages.reconciler.sweeper,
        deployment=ports.deployment,
    )
