"""The HTTP face of the whole service in one process: every route of webhook, search and audit over the same ports."""

from collections.abc import Sequence
from dataclasses import dataclass

import fastapi

import bloomweaver
from bloomweaver.domain.models import ModelSpec
from bloomweaver.encoding import pool
from bloomweaver.ports import opened
from bloomweaver.reconciler import api as reconciler_api
from bloomweaver.reconciler import auditing
from bloomweaver.runtime import health, metrics, tracing
from bloomweaver.runtime.web import application, authentication
from bloomweaver.search import application as search_application
from bloomweaver.search import catalogue
from bloomweaver.webhook import api as webhook_api
from bloomweaver.webhook import application as webhook_application
from bloomweaver.webhook import managing, sealing, status
from bloomweaver.webhook import service as webhook_service


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the routes need beside ports and models."""

    metrics: metrics.Metrics
    tracer: tracing.Tracer
    health: health.Health
    sealer: sealing.Sealer
    catalogue: catalogue.Catalogue
    auditor: auditing.Auditor


def create(
    ports: opened.Ports,
    webhook: webhook_service.WebhookService,
    models: pool.ModelPool,
    collections: managing.Collections,
    around: Surroundings,
) -> fastapi.FastAPI:
    """The application with all routes."""
    authenticator = authentication.KeyAuthenticator(ports.registry.key, clock=ports.clock)
    surroundings = application.Surroundings(
        clock=ports.clock,
        nonces=ports.nonces,
        metrics=around.metrics,
        tracer=around.tracer,
        authenticator=authenticator,
        readiness=around.health.report,
        open_prefixes=webhook_api.OPEN_PREFIXES,
    )
    webhook_around = webhook_application.Around(
        around.metrics, around.sealer, authenticator.invalidate, lambda: statuses(models)
    )
    routers = [
        *webhook_application.routers(ports, webhook, collections, webhook_around),
        search_application.router(ports, models, offered=around.catalogue, metrics=around.metrics),
        reconciler_api.router(around.auditor),
    ]
    return application.create(surroundings, title="BloomWeaver", version=bloomweaver.__version__, routers=routers)


async def resolved(models: pool.ModelPool, name: str) -> tuple[ModelSpec, str]:
    """A model that a collection is to have is loaded at once: who embeds and searches is here too."""
    loaded = await models.load(name)
    return loaded.spec, loaded.space


def statuses(models: pool.ModelPool) -> Sequence[status.EmbedderStatus]:
    """The models that are ready, and what waits for them."""
    return [
        status.EmbedderStatus(name, loaded.space, sum(f.waiting_passages for f in loaded.batcher.figures().values()))
        for name, loaded in models.loaded().items()
    ]
