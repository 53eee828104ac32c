"""Search over open ports and the models of this process, put together once for every composition."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import fastapi

import bloomweaver
from bloomweaver import logger
from bloomweaver.encoding import pool
from bloomweaver.ports import opened, registry
from bloomweaver.runtime import health, metrics, process, stages, tracing
from bloomweaver.runtime.web import application, authentication, rates
from bloomweaver.search import api, catalogue, embeddings, service

WARMING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Models:
    """How models are opened. default: loaded at the start, whether or not a collection has it."""

    open: pool.OpenModel
    listing: catalogue.Listing
    default: str


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


@contextlib.asynccontextmanager
async def running(
    ports: opened.Ports, models: Models, host: process.Host, *, limit: int, rate: rates.Rate | None
) -> AsyncIterator[fastapi.FastAPI]:
    """Search as a process: the application, with its models warm, until the context ends."""
    ports = tracing.traced(ports, host.tracer)
    async with (
        pool.ModelPool(models.open, on_batch=host.metrics.observe_batch) as loaded,
        stages.hosted(ports, host) as parts,
    ):
        await loaded.load(models.default)
        warm = Warm(loaded, ports.registry)
        await warm.round()
        parts.repeat("models", warm.round, seconds=WARMING_SECONDS)
        limiter = rates.limiter_of(rate, ports, told=host.metrics.count_rate_lease)
        surroundings = application.Surroundings(
            clock=ports.clock,
            nonces=ports.nonces,
            metrics=host.metrics,
            tracer=host.tracer,
            authenticator=authentication.KeyAuthenticator(ports.registry.key, clock=ports.clock),
            readiness=host.health.report,
            max_concurrent_requests=limit,
            rate_limiter=limiter,
        )
        offered = catalogue.Catalogue(loaded, listing=models.listing)
        made = [router(ports, loaded, offered=offered, metrics=host.metrics)]
        host.health.watch(probes=health.probes_of(ports), needed=("ledger", "vectors"), check=parts.obstacles)
        yield application.create(
            surroundings, title="BloomWeaver search", version=bloomweaver.__version__, routers=made
        )


class Warm:
    """Loads the models of collections that were made, or are being moved, since it last looked."""

    def __init__(self, models: pool.ModelPool, registry: registry.Registry) -> None:
        self._models = models
        self._registry = registry
        self._told: set[str] = set()

    async def round(self) -> None:
        """Look once. A model that cannot be used is told once; its collections answer 503, the others go on."""
        unusable = await pool.load_used(self._models, self._registry)
        for space in unusable.keys() - self._told:
            what = unusable[space]
            logger.get("models").error("model_not_usable", model=what.model, detail=what.detail)
        self._told = set(unusable)
