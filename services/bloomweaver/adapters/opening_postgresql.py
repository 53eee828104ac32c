"""What `postgresql://` URLs name, opened for `opening`: ledger, queues, blobs and vectors, of one database or of more.

Invariants: ports on one URL share its connections; a port is given out only when its tables have this release's
version, whether they were brought to it now or only found so; nothing here lives longer than the stack.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bloomweaver.adapters.blobs import postgresql as blobs
from bloomweaver.adapters.caches import postgresql as leases
from bloomweaver.adapters.engines.postgresql import engine, migrations
from bloomweaver.adapters.history import postgresql as histories
from bloomweaver.adapters.ledger import postgresql as ledgers
from bloomweaver.adapters.ledger import postgresql_healing as healers
from bloomweaver.adapters.queues import postgresql as queues
from bloomweaver.adapters.registry import postgresql as registries
from bloomweaver.adapters.vectors import postgresql as vectors
from bloomweaver.ports import clock as clocks

if TYPE_CHECKING:
    from bloomweaver.adapters import opening


@dataclass(frozen=True, slots=True)
class Carried:
    """The ports of one database that share transactions."""

    ledger: ledgers.PostgresqlLedger
    healing: healers.PostgresqlHealing
    registry: registries.PostgresqlRegistry
    history: histories.PostgresqlHistory


class Servers:
    """The databases that are open, by URL."""

    def __init__(self, stack: contextlib.AsyncExitStack, *, nonces: clocks.Nonces, access: "opening.Access") -> None:
        self._stack = stack
        self._nonces = nonces
        self._access = access
        self._open: dict[str, engine.Engine] = {}

    async def database(self, url: str) -> Carried:
        """Ledger, healing, registry and history."""
        opened = await self._ready(url, "ledger")
        return Carried(
            ledger=ledgers.PostgresqlLedger(opened),
            healing=healers.PostgresqlHealing(opened),
            registry=registries.PostgresqlRegistry(opened),
            history=histories.PostgresqlHistory(opened),
        )

    async def queues(self, url: str) -> queues.PostgresqlQueues:
        opened = queues.PostgresqlQueues(await self._ready(url, "queues"))
        self._stack.push_async_callback(opened.aclose)
        return opened

    async def blobs(self, url: str) -> blobs.PostgresqlBlobs:
        return blobs.PostgresqlBlobs(await self._ready(url, "blobs"))

    async def vectors(self, url: str) -> vectors.PostgresqlVectors:
        opened = vectors.PostgresqlVectors(await self._ready(url, "vectors"))
        self._stack.push_async_callback(opened.aclose)
        return opened

    async def leases(self, url: str, *, clock: clocks.Clock) -> leases.PostgresqlLeases:
        """Turns of rates, which every process of the deployment shares."""
        return leases.PostgresqlLeases(await self._ready(url, "ledger"), clock=clock)

    async def migrate(self, urls: Mapping[str, str]) -> list[migrations.Migrated]:
        """Bring the components, each on its URL, to this release; what was done."""
        return [await (await self._of(url)).apply(component) for component, url in urls.items()]

    async def _ready(self, url: str, component: str) -> engine.Engine:
        opened = await self._of(url)
        await opened.ready(component)
        return opened

    async def _of(self, url: str) -> engine.Engine:
        if url not in self._open:
            password, migrates = self._access.postgresql_password, self._access.migrates
            connecting = engine.open_engine(url, nonces=self._nonces, password=password, migrates=migrates)
            self._open[url] = await self._stack.enter_async_context(connecting)
        return self._open[url]
