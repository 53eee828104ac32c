"""The composition root of webhook: takes changes, answers for documents, collections, keys and states."""

import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import fastapi

from bloomweaver.adapters import opening
from bloomweaver.runtime import process
from bloomweaver.runtime.web import rates
from bloomweaver.webhook import application, offering, settings

ABOUT = "Takes change events, durable before the 202, and answers for documents, collections, keys and states."


def main() -> NoReturn:
    """Run it to its end."""
    process.main(process.Program("webhook", ABOUT, settings.WebhookSettings, begin, opening.system_clock))


@contextlib.asynccontextmanager
async def begin(wishes: settings.WebhookSettings, host: process.Host) -> AsyncIterator[fastapi.FastAPI]:
    """Open, until the context ends."""
    nonces = opening.system_nonces()
    resolve = functools.partial(opening.resolved_model, models_dir=Path(wishes.models), hosted=wishes.hosted())
    sealer = opening.sealer(wishes.sealing_key(), random=nonces.secret)
    offered = offering.Offering(resolve, default=wishes.model, names_only=True)
    rate = rates.wished(wishes.key_requests_per_second, burst=wishes.key_burst)
    async with (
        opening.open_ports(wishes, clock=host.clock, nonces=nonces, recorder=host.metrics) as ports,
        application.running(
            ports,
            offered,
            sealer,
            host,
            limit=wishes.max_concurrent_requests,
            rate=rate,
            wake_url=wishes.wake_url,
        ) as app,
    ):
        yield app
