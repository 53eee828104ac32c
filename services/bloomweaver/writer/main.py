"""The composition root of writer: one lane, or all of them."""

import contextlib
from collections.abc import AsyncIterator
from typing import NoReturn

from bloomweaver.adapters import opening
from bloomweaver.domain.events import Lane
from bloomweaver.runtime import process
from bloomweaver.writer import settings, worker

ABOUT = "Writes built versions to the vector store and shows them, or removes what is dead."


def main() -> NoReturn:
    """Run it to its end."""
    process.main(process.Program("writer", ABOUT, settings.WriterSettings, begin, opening.system_clock))


@contextlib.asynccontextmanager
async def begin(wishes: settings.WriterSettings, host: process.Host) -> AsyncIterator[None]:
    """Working, until the context ends."""
    lanes = worker.LANES if wishes.operation == "all" else (Lane(wishes.operation),)
    nonces = opening.system_nonces()
    async with (
        opening.open_ports(wishes, clock=host.clock, nonces=nonces, recorder=host.metrics) as ports,
        worker.running(
            ports,
            host,
            lanes=lanes,
            visibility_seconds=wishes.visibility_seconds,
            drain_seconds=wishes.grace_seconds,
        ),
    ):
        yield
