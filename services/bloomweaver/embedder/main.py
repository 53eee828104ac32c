"""The composition root of embedder: one model, and the change queue of its space."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

from bloomweaver.adapters import opening
from bloomweaver.embedder import settings, worker
from bloomweaver.encoding import pool, threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import process

ABOUT = "Splits and embeds the documents that wait for one embedding model."


def main() -> NoReturn:
    """Run it to its end."""
    process.main(process.Program("embedder", ABOUT, settings.EmbedderSettings, begin, opening.system_clock))


@contextlib.asynccontextmanager
async def begin(wishes: settings.EmbedderSettings, host: process.Host) -> AsyncIterator[None]:
    """Working, until the context ends."""
    cores = wishes.threads or threads.available(len(os.sched_getaffinity(0)))
    room = threads.memory_bytes()
    nonces = opening.system_nonces()

    async def open_model(name: str) -> embedders.Embedder:
        folder = Path(wishes.models)
        return await opening.open_embedder(
            name, models_dir=folder, threads=cores, memory_bytes=room, hosted=wishes.hosted()
        )

    async with (
        pool.begun(open_model, wishes.model) as open_begun,
        opening.open_ports(wishes, clock=host.clock, nonces=nonces, recorder=host.metrics) as ports,
        worker.running(
            ports,
            open_begun,
            host,
            model=wishes.model,
            visibility_seconds=wishes.visibility_seconds,
            drain_seconds=wishes.grace_seconds,
        ),
    ):
        yield
