"""Opening and serving the all-in-one process: the order in which things begin and, in reverse, end."""

import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import fastapi

from bloomweaver.allinone import administration, application, catalogue, folder, models, stages
from bloomweaver.domain import credentials
from bloomweaver.encoding import figures
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import registry
from bloomweaver.runtime import lifecycle, metrics
from bloomweaver.webhook import sealing

GRACEFUL_SECONDS = 10
GARBAGE_THRESHOLDS = (10_000, 20, 50)
ALL_VERBS = frozenset(verb.value for verb in credentials.Verb)


@dataclass(frozen=True, slots=True)
class Outside:
    """What `main.py` opens. default_model: of collections that name none."""

    ports: stages.Ports
    open_model: models.OpenModel
    list_models: catalogue.Listing
    sealer: sealing.Sealer
    metrics: metrics.Metrics
    default_model: str
    workers: bool


@dataclass(frozen=True, slots=True)
class Running:
    """The service, working. key: the secret of this machine's API key. new_key: whether this start made it."""

    app: fastapi.FastAPI
    key: str
    stages: stages.Stages
    ended: Callable[[Callable[[], None]], None]
    administration: administration.Administration
    new_key: bool


@contextlib.asynccontextmanager
async def started(outside: Outside, data: folder.DataFolder) -> AsyncIterator[Running]:
    """Everything running until the context ends; then drained."""
    ports = outside.ports
    recorder = outside.metrics
    deaths: list[Callable[[], None]] = []

    def died() -> None:
        for tell in deaths:
            tell()

    def computed(model: str, inference: figures.Inference) -> None:
        recorder.observe_batch(
            model,
            "cpu",
            chunks=inference.passages,
            tokens=inference.tokens,
            padded=inference.padded,
            seconds=inference.seconds,
        )

    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(models.ModelPool(outside.open_model, on_batch=computed))
        offered = catalogue.Catalogue(pool, default=outside.default_model, listing=outside.list_models)
        collections = application.collections_of(ports, offered)
        unavailable = await application.begin(ports, pool, collections)
        new_key = not data.key.exists()
        key = await _own_key(ports, data)
        pipeline = stages.Stages(ports, pool, metrics=recorder, on_death=died, unavailable=unavailable)
        if outside.workers:
            await stack.enter_async_context(pipeline)
        webhook = application.webhook_of(ports)
        stack.push_async_callback(webhook.flush)
        await stack.enter_async_context(lifecycle.beside({"hints": webhook.run}, on_death=died))
        around = application.Surroundings(recorder, outside.sealer, offered, pipeline)
        app = application.create(ports, webhook, pool, collections, around)
        owner = administration.Administration(ports.registry, collections, ports.clock, ports.nonces)
        yield Running(app, key, pipeline, deaths.append, owner, new_key)


async def serve(running: Running, listener: socket.socket, *, stops: list[Callable[[], None]]) -> None:
    """Answer requests until SIGINT or SIGTERM, until a stage dies, or until what is put into `stops` is called."""
    import uvicorn  # not before there is something to serve: `try` never needs it

    config = uvicorn.Config(
        running.app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    server = uvicorn.Server(config)
    # What is there by now stays. Not looked through by every collection of garbage, it costs no accept any more.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)

    def stop() -> None:
        server.should_exit = True

    running.ended(stop)
    stops.append(stop)
    await server.serve(sockets=[listener])


async def _own_key(ports: stages.Ports, data: folder.DataFolder) -> str:
    """The key of whoever owns the data folder: made at the first start, known again at every other."""
    if data.key.exists():
        secret = data.key.read_text().strip()
        key_id = credentials.key_id_of(secret)
        if key_id is not None:
            if await ports.registry.key(key_id) is None:
                await ports.registry.add_key(_stored(ports.clock, key_id, credentials.hash_secret(secret)))
            return secret
    fresh = credentials.new_key(ports.nonces.secret)
    await ports.registry.add_key(_stored(ports.clock, fresh.id, fresh.hash))
    folder.write_private(data.key, fresh.secret.encode() + b"\n")
    return fresh.secret


def _stored(clock: clocks.Clock, key_id: str, digest: str) -> registry.StoredKey:
    return registry.StoredKey(
        id=key_id,
        tenant=application.TENANT,
        name="this machine",
        hash=digest,
        verbs=ALL_VERBS,
        collections=("*",),
        created_at=clock.now(),
    )
