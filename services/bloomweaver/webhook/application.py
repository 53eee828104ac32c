"""Webhook over open ports: the service, its collections and its routes, put together once for every composition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fastapi

import bloomweaver
from bloomweaver.domain.identity import TenantId
from bloomweaver.ports import opened
from bloomweaver.runtime import health, metrics
from bloomweaver.text import parsing
from bloomweaver.webhook import api, managing, sealing, service, status

TENANT = TenantId("default")
"""The tenant that is there from the first start."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the routes need beside ports. forget_key: `KeyAuthenticator.invalidate`."""

    metrics: metrics.Metrics
    sealer: sealing.Sealer
    forget_key: Callable[[str], None]
    embedders: Callable[[], Sequence[status.EmbedderStatus]] = api.no_embedders


def service_of(ports: opened.Ports) -> service.WebhookService:
    """The service that takes changes; its `run` has to run beside it."""
    return service.WebhookService(
        ledger=ports.ledger,
        registry=ports.registry,
        queues=ports.queues,
        blobs=ports.blobs,
        clock=ports.clock,
        nonces=ports.nonces,
        deployment=ports.deployment,
        limits=service.Limits(),
    )


def collections_of(ports: opened.Ports, models: managing.Models) -> managing.Collections:
    """Making and re-indexing collections."""
    return managing.Collections(
        registry=ports.registry, ledger=ports.ledger, models=models, revision=parsing.PIPELINE_REVISION
    )


def routers(
    ports: opened.Ports, webhook: service.WebhookService, collections: managing.Collections, around: Around
) -> list[fastapi.APIRouter]:
    """Every route of webhook."""
    parts = api.Parts(
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
        forget_key=around.forget_key,
        extract=lambda text, media_type: parsing.parse(text, media_type).text,
        version=bloomweaver.__version__,
        embedders=around.embedders,
        probes=health.probes_of(ports),
    )
    return api.routers(parts)
