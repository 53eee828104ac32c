"""Webhook over open ports: the service, its collections and its routes, put together once for every composition."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import fastapi
import httpx2

import bloomweaver
from bloomweaver.domain import measured
from bloomweaver.domain.errors import WorkError
from bloomweaver.domain.identity import TenantId
from bloomweaver.ports import blobs, opened
from bloomweaver.runtime import health, lifecycle, metrics, process, tracing
from bloomweaver.runtime.web import application, authentication, rates
from bloomweaver.text import parsing
from bloomweaver.webhook import api, managing, sealing, service, status, waking

TENANT = TenantId("default")
"""The tenant that is there from the first start."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the routes need beside ports. forget_key: `KeyAuthenticator.invalidate`."""

    metrics: metrics.Metrics
    sealer: sealing.Sealer
    forget_key: Callable[[str], None]
    embedders: Callable[[], Sequence[status.EmbedderStatus]] = api.no_embedders


def service_of(ports: opened.Ports, *, told: Callable[[], None] = lambda: None) -> service.WebhookService:
    """The service that takes changes; its `run` has to run beside it. told: of every change that leaves work."""
    return service.WebhookService(
        ledger=ports.ledger,
        registry=ports.registry,
        queues=ports.queues,
        blobs=ports.blobs,
        clock=ports.clock,
        nonces=ports.nonces,
        deployment=ports.deployment,
        limits=service.Limits(),
        told=told,
    )


def collections_of(ports: opened.Ports, models: managing.Models) -> managing.Collections:
    """Making and re-indexing collections."""
    return managing.Collections(
        registry=ports.registry,
        ledger=ports.ledger,
        models=models,
        revision=parsing.PIPELINE_REVISION,
        speed=functools.partial(measured_speed, ports.blobs, ports.deployment),
    )


async def measured_speed(stored: blobs.Blobs, deployment: str, space: str) -> int:
    """Chunks a second of one pod, as embedders of the space have found; 0 while nobody knows."""
    listed = [blob async for blob in stored.list(measured.folder(deployment, space))]
    try:
        newest = min(listed, key=lambda blob: blob.age_seconds, default=None)
        found = None if newest is None else measured.decode(await stored.get(newest.key))
    except WorkError:
        return 0  # an estimate does without
    return 0 if found is None else found.chunks_per_second


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


@contextlib.asynccontextmanager
async def running(
    ports: opened.Ports,
    models: managing.Models,
    sealer: sealing.Sealer,
    host: process.Host,
    *,
    limit: int,
    rate: rates.Rate | None,
    wake_url: str | None = None,
) -> AsyncIterator[fastapi.FastAPI]:
    """Webhook as a process: the application, with hints sent beside it, until the context ends."""
    ports = tracing.traced(ports, host.tracer)
    async with contextlib.AsyncExitStack() as stack:
        waker = None if wake_url is None else await _waker(wake_url, ports, stack)
        webhook = service_of(ports, told=waker.note) if waker else service_of(ports)
        collections = collections_of(ports, models)
        await collections.welcome(TENANT)
        authenticator = authentication.KeyAuthenticator(ports.registry.key, clock=ports.clock)
        surroundings = application.Surroundings(
            clock=ports.clock,
            nonces=ports.nonces,
            metrics=host.metrics,
            tracer=host.tracer,
            authenticator=authenticator,
            readiness=host.health.report,
            open_prefixes=api.OPEN_PREFIXES,
            max_concurrent_requests=limit,
            rate_limiter=rates.limiter_of(rate, ports, told=host.metrics.count_rate_lease),
        )
        made = routers(ports, webhook, collections, Around(host.metrics, sealer, authenticator.invalidate))
        app = application.create(surroundings, title="BloomWeaver", version=bloomweaver.__version__, routers=made)
        stack.push_async_callback(webhook.flush)
        beside = {"hints": webhook.run} | ({"wakes": waker.run} if waker else {})
        await stack.enter_async_context(lifecycle.beside(beside, on_death=host.die))
        host.health.watch(probes=health.probes_of(ports), needed=("ledger", "blobs"))
        yield app


async def _waker(url: str, ports: opened.Ports, stack: contextlib.AsyncExitStack) -> waking.Waker:
    return waking.Waker(await stack.enter_async_context(httpx2.AsyncClient()), url, clock=ports.clock)
