"""The composition root of search: queries are embedded here, candidates come from the store, the ledger decides."""

import contextlib
import functools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import fastapi

from bloomweaver.adapters import opening
from bloomweaver.encoding import threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import process
from bloomweaver.runtime.web import rates
from bloomweaver.search import application, settings

ABOUT = "Answers searches and embeds on request, with the models that collections are kept in loaded and warm."


def main() -> NoReturn:
    """Run it to its end."""
    process.main(process.Program("search", ABOUT, settings.SearchSettings, begin, opening.system_clock))


@contextlib.asynccontextmanager
async def begin(wishes: settings.SearchSettings, host: process.Host) -> AsyncIterator[fastapi.FastAPI]:
    """Open, until the context ends."""
    cores = wishes.threads or threads.available(len(os.sched_getaffinity(0)))
    room = threads.memory_bytes()
    nonces = opening.system_nonces()
    folder, hosted = Path(wishes.models), wishes.hosted()

    async def open_model(name: str) -> embedders.Embedder:
        return await opening.open_embedder(name, models_dir=folder, threads=cores, memory_bytes=room, hosted=hosted)

    listing = functools.partial(opening.listed_models, models_dir=folder, hosted=hosted)
    models = application.Models(open_model, listing, default=wishes.model)
    rate = rates.wished(wishes.key_requests_per_second, burst=wishes.key_burst)
    async with (
        opening.open_ports(wishes, clock=host.clock, nonces=nonces, recorder=host.metrics) as ports,
        application.running(ports, models, host, limit=wishes.max_concurrent_requests, rate=rate) as app,
    ):
        yield app
