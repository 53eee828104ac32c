"""The composition root of reconciler: heals what got lost on the way, and answers audits."""

import contextlib
from collections.abc import AsyncIterator
from typing import NoReturn

import fastapi

from bloomweaver.adapters import opening
from bloomweaver.reconciler import application, settings
from bloomweaver.runtime import process

ABOUT = "Finds whatever got lost on the way, removes what is dead, sweeps, drains dead letters; answers /v1/audit."


def main() -> NoReturn:
    """Run it to its end."""
    process.main(process.Program("reconciler", ABOUT, settings.ReconcilerSettings, begin, opening.system_clock))


@contextlib.asynccontextmanager
async def begin(wishes: settings.ReconcilerSettings, host: process.Host) -> AsyncIterator[fastapi.FastAPI]:
    """Working and answering, until the context ends."""
    nonces = opening.system_nonces()
    async with (
        opening.open_ports(wishes, clock=host.clock, nonces=nonces, recorder=host.metrics) as ports,
        application.running(ports, host, drain_seconds=wishes.grace_seconds) as app,
    ):
        yield app
