"""`bloomweaver dev --processes`: every service a process of its own, over one store, behind one address."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx2

from bloomweaver.allinone import folder, proxying, settings, supervising
from bloomweaver.ports import clock as clocks
from bloomweaver.runtime import config, health, lifecycle, serving

LOOPBACK = "127.0.0.1"
READY_POLL_SECONDS = 0.2
# Name, service, and what it is told. There may be more than one embedder.
EMBEDDER = "embedder"
CHILDREN: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("webhook", "webhook", ()),
    (EMBEDDER, EMBEDDER, ()),
    ("writer-create", "writer", ("--operation=create",)),
    ("writer-update", "writer", ("--operation=update",)),
    ("writer-delete", "writer", ("--operation=delete",)),
    ("search", "search", ()),
    ("reconciler", "reconciler", ()),
)
ROUTES: Mapping[str, str] = {
    "": "webhook",
    "/v1/search": "search",
    "/v1/embeddings": "search",
    "/v1/models": "search",
    "/v1/audit": "reconciler",
}


@dataclass(slots=True)
class Fleet:
    """All of them, running. ports: where each answers."""

    supervisor: supervising.Supervisor
    ports: Mapping[str, int]
    server: serving.Server
    health: health.Health

    async def serve(self, listener: socket.socket, *, on_ready: Callable[[], None]) -> None:
        """Answer until `server.stop`, or until a child cannot go on: ConfigurationError."""

        async def tell() -> None:
            while (await self.health.report()).obstacles:  # noqa: ASYNC110 - who is asked is another process
                await asyncio.sleep(READY_POLL_SECONDS)
            on_ready()

        async with self.supervisor.running() as failed:
            failed.add_done_callback(lambda _: self.server.stop())
            telling = asyncio.create_task(tell())
            await self.server.answer(listener)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            if failed.done():
                failed.result()


@contextlib.asynccontextmanager
async def opened(
    data: folder.DataFolder,
    wishes: settings.DevSettings,
    *,
    store: str,
    variables: Mapping[str, str],
    clock: clocks.Clock,
    tell: supervising.Tell,
) -> AsyncIterator[Fleet]:
    """Ready to serve. The store has to be migrated, and the first tenant to be there."""
    environment = {**_inherited(variables), **_told(data, wishes, store)}
    async with contextlib.AsyncExitStack() as stack:
        services = []
        for name, service, arguments in children(wishes.embedders):
            listener = stack.enter_context(lifecycle.listen(LOOPBACK, 0))
            services.append(supervising.Service(name, f"bloomweaver.{service}", arguments, environment, listener))
        ports = {service.name: service.port for service in services}
        client = await stack.enter_async_context(proxying.open_client())
        standing = _standing(client, ports, clock)
        routes = {prefix: ports[name] for prefix, name in ROUTES.items()}
        proxy = proxying.Proxy(routes, readiness=standing, client=client)
        yield Fleet(supervising.Supervisor(services, tell), ports, serving.server_of(proxy), standing)


def children(embedders: int) -> list[tuple[str, str, tuple[str, ...]]]:
    """Every process, with so many embedders."""
    more = [(f"{EMBEDDER}-{number}", EMBEDDER, ()) for number in range(2, embedders + 1)]
    return [*CHILDREN, *more]


def _inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """What is not ours, and the password, which is no setting that could be written down elsewhere."""
    passed = ("BLOOMWEAVER_POSTGRESQL_PASSWORD", "BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE")
    return {name: text for name, text in variables.items() if not name.startswith(config.PREFIX) or name in passed}


def _told(data: folder.DataFolder, wishes: settings.DevSettings, store: str) -> dict[str, str]:
    told: dict[str, object] = {
        "store": store,
        "queues": wishes.queues,
        "blobs": wishes.blobs,
        "vectors": wishes.vectors,
        "model": wishes.model,
        "models": data.models.absolute(),
        "hosted_models": ",".join(wishes.hosted_models),
        "threads": wishes.threads,
        "secret_file": data.secret_as_text().absolute(),
        "log_level": wishes.log_level,
        "log_form": wishes.log_form,
    }
    return {config.PREFIX + name.upper(): str(value) for name, value in told.items() if value is not None}


def _standing(client: httpx2.AsyncClient, ports: Mapping[str, int], clock: clocks.Clock) -> health.Health:
    """The whole is ready when all are; each that is not says why."""

    async def obstacles() -> list[str]:
        found = await asyncio.gather(*(_obstacles(client, port) for port in ports.values()))
        return [f"{name}: {why}" for name, several in zip(ports, found, strict=True) for why in several]

    standing = health.Health(clock=clock)
    standing.watch(probes={}, check=obstacles)
    return standing


async def _obstacles(client: httpx2.AsyncClient, port: int) -> list[str]:
    try:
        answer = await client.get(f"http://{LOOPBACK}:{port}/readyz", timeout=health.PROBE_SECONDS)
        return [str(each) for each in answer.json().get("obstacles", ())]
    except (httpx2.HTTPError, ValueError):
        return ["does not answer"]
