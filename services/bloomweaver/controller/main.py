"""The composition root of controller: watches resources, scales embedders, carries re-indexes through."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NoReturn

from bloomweaver.adapters import opening
from bloomweaver.controller import settings
from bloomweaver.runtime import process

if TYPE_CHECKING:
    from starlette import types

ABOUT = "Keeps EmbeddingModel resources as they say: Deployments, scaling from zero, re-indexes."


def main() -> NoReturn:
    """Run it to its end."""
    process.main(process.Program("controller", ABOUT, settings.ControllerSettings, begin, opening.system_clock))


@contextlib.asynccontextmanager
async def begin(wishes: settings.ControllerSettings, host: process.Host) -> AsyncIterator["types.ASGIApp"]:
    """Watching and acting, until the context ends."""
    from bloomweaver.controller import application  # kopf and gRPC: --help need not wait for them

    nonces = opening.system_nonces()
    async with (
        opening.open_ports(wishes, clock=host.clock, nonces=nonces, recorder=host.metrics) as ports,
        application.running(wishes, ports, host) as app,
    ):
        yield app
