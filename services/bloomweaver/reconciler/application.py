"""Reconciler as a process: the rounds, and the audit's route."""

import contextlib
from collections.abc import AsyncIterator

import fastapi

import bloomweaver
from bloomweaver.ports import opened
from bloomweaver.reconciler import api, worker
from bloomweaver.runtime import health, process, stages, tracing
from bloomweaver.runtime.web import application, authentication


@contextlib.asynccontextmanager
async def running(
    ports: opened.Ports, host: process.Host, *, drain_seconds: float = stages.DRAIN_SECONDS
) -> AsyncIterator[fastapi.FastAPI]:
    """Healing, with an application that answers audits, until the context ends."""
    ports = tracing.traced(ports, host.tracer)
    reconciler = worker.service_of(ports)
    surroundings = application.Surroundings(
        clock=ports.clock,
        nonces=ports.nonces,
        metrics=host.metrics,
        tracer=host.tracer,
        authenticator=authentication.KeyAuthenticator(ports.registry.key, clock=ports.clock),
        readiness=host.health.report,
    )
    app = application.create(
        surroundings,
        title="BloomWeaver reconciler",
        version=bloomweaver.__version__,
        routers=[api.router(worker.auditor_of(ports, reconciler))],
    )
    async with stages.hosted(ports, host, drain_seconds=drain_seconds) as parts:
        worker.begin(parts, ports, reconciler, metrics=host.metrics)
        host.health.watch(probes=health.probes_of(ports), check=parts.obstacles)
        yield app
