"""The routes of webhook, put together. `install` adds them to an application that `runtime.web.application` made.

parts = api.Parts(service=…, …)
app = application.create(Surroundings(…, open_prefixes=api.OPEN_PREFIXES), …)
api.install(app, parts)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import fastapi

from bloomweaver.ports import clock as clocks
from bloomweaver.ports import history, ledger, queues, registry
from bloomweaver.runtime import health, metrics
from bloomweaver.webhook import (
    accepting,
    collections,
    dead_letters,
    document_views,
    documents,
    events,
    finding,
    keys,
    managing,
    sealing,
    sources,
    status,
    uploads,
)
from bloomweaver.webhook import service as webhook_service

OPEN_PREFIXES: Final = (sources.INGEST,)
"""Paths below /v1 that carry a signature instead of a key; for `application.Surroundings`."""


def no_embedders() -> Sequence[status.EmbedderStatus]:
    """For a process without embedders of its own."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the routes need from the composition.

    forget_key: `KeyAuthenticator.invalidate`. extract: the readable text of (text, media type). probes: by store, a
    call that fails with a BloomWeaverError where it is away.
    """

    service: webhook_service.WebhookService
    collections: managing.Collections
    ledger: ledger.Ledger
    registry: registry.Registry
    history: history.History
    queues: queues.Queues
    clock: clocks.Clock
    nonces: clocks.Nonces
    metrics: metrics.Metrics
    sealer: sealing.Sealer
    forget_key: Callable[[str], None]
    extract: Callable[[str, str], str]
    version: str
    media_types: frozenset[str] = webhook_service.Limits().media_types
    embedders: Callable[[], Sequence[status.EmbedderStatus]] = no_embedders
    probes: Mapping[str, health.Probe] = field(default_factory=dict)


def routers(parts: Parts) -> list[fastapi.APIRouter]:
    """Every route of webhook."""
    finder = finding.Finder(ledger=parts.ledger, registry=parts.registry)
    figures = collections.Figures(ledger=parts.ledger, finder=finder, clock=parts.clock)
    acceptor = accepting.Acceptor(parts.service, clock=parts.clock, metrics=parts.metrics)
    changes = events.EventRoutes(acceptor, finder=finder, ledger=parts.ledger, clock=parts.clock)
    return [
        changes.hot_router(),
        changes.router(),
        *_of_documents(parts, acceptor, finder),
        collections.CollectionRoutes(
            parts.collections, registry=parts.registry, finder=finder, figures=figures
        ).router(),
        dead_letters.DeadLetterRoutes(parts.service, parts.history, parts.ledger, finder, parts.clock).router(),
        keys.KeyRoutes(parts.registry, parts.clock, parts.nonces, parts.forget_key).router(),
        sources.SourceRoutes(
            acceptor, parts.registry, parts.ledger, finder, parts.sealer, parts.clock, parts.nonces
        ).router(),
        status.StatusRoutes(figures, parts.queues, parts.version, parts.embedders, parts.probes).router(),
    ]


def _of_documents(parts: Parts, acceptor: accepting.Acceptor, finder: finding.Finder) -> tuple[fastapi.APIRouter, ...]:
    return (
        documents.DocumentRoutes(
            acceptor,
            service=parts.service,
            finder=finder,
            clock=parts.clock,
            media_types=parts.media_types,
        ).router(),
        document_views.DocumentViews(
            service=parts.service,
            finder=finder,
            ledger=parts.ledger,
            history=parts.history,
            queues=parts.queues,
            clock=parts.clock,
            extract=parts.extract,
        ).router(),
        uploads.UploadRoutes(acceptor, parts.media_types).router(),
    )
