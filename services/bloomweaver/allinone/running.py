"""Opening and serving the all-in-one process: the order in which things begin and, in reverse, end."""

import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import fastapi

from bloomweaver import logger
from bloomweaver.allinone import administration, application, folder
from bloomweaver.domain import credentials
from bloomweaver.embedder import worker as embedder_worker
from bloomweaver.encoding import pool, remembering
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import opened, registry
from bloomweaver.reconciler import worker as reconciler_worker
from bloomweaver.runtime import health, lifecycle, metrics, stages, tracing
from bloomweaver.search import catalogue
from bloomweaver.webhook import application as webhook_application
from bloomweaver.webhook import managing, offering, sealing
from bloomweaver.writer import worker as writer_worker

Stop = Callable[[], None]
ALL_VERBS = frozenset(verb.value for verb in credentials.Verb)


@dataclass(frozen=True, slots=True)
class Outside:
    """What `main.py` opens. default_model: of collections that name none."""

    ports: opened.Ports
    open_model: pool.OpenModel
    list_models: catalogue.Listing
    sealer: sealing.Sealer
    metrics: metrics.Metrics
    tracer: tracing.Tracer
    default_model: str
    workers: bool


@dataclass(frozen=True, slots=True)
class Running:
    """The service, working. key: the secret of this machine's API key. new_key: whether this start made it."""

    app: fastapi.FastAPI
    key: str
    ended: Callable[[Stop], None]
    administration: administration.Administration
    new_key: bool


@contextlib.asynccontextmanager
async def started(outside: Outside, data: folder.DataFolder) -> AsyncIterator[Running]:
    """Everything running until the context ends; then drained."""
    ports, recorder, deaths = tracing.traced(outside.ports, outside.tracer), outside.metrics, list[Stop]()

    def died() -> None:
        for tell in deaths:
            tell()

    async with contextlib.AsyncExitStack() as stack:
        memory = remembering.memory_of(ports)
        models = await stack.enter_async_context(
            pool.ModelPool(outside.open_model, on_batch=recorder.observe_batch, memory=memory)
        )
        resolve = functools.partial(application.resolved, models)
        collections = collections_of(ports, resolve, default=outside.default_model)
        new_key = await introduce(ports, data, collections)
        parts = stages.Stages(ports, metrics=recorder, on_death=died, tracer=outside.tracer)
        reconciler = reconciler_worker.service_of(ports)
        webhook = webhook_application.service_of(ports)
        auditor = reconciler_worker.auditor_of(ports, reconciler)
        listed = catalogue.Catalogue(models, listing=outside.list_models)
        around = application.Surroundings(
            recorder, outside.tracer, _health(ports, parts), outside.sealer, listed, auditor
        )
        app = application.create(ports, webhook, models, collections, around)
        # Not before the routes are made: the model is being compiled on another thread meanwhile.
        unusable = await pool.load_used(models, ports.registry)
        if outside.workers:
            offload = await stack.enter_async_context(embedder_worker.splitting())
            await stack.enter_async_context(parts)
            _begin_embedding(parts, ports, models, unusable, offload)
            writer_worker.begin(parts, ports, metrics=recorder)
            reconciler_worker.begin(parts, ports, reconciler, metrics=recorder)
        stack.push_async_callback(webhook.flush)
        await stack.enter_async_context(lifecycle.beside({"hints": webhook.run}, on_death=died))
        owner = administration.Administration(ports.registry, collections, ports.clock, ports.nonces)
        yield Running(app, data.key.read_text().strip(), deaths.append, owner, new_key is not None)


async def serve(running: Running, listener: socket.socket, *, stops: list[Stop]) -> None:
    """Answer requests until what is put into `stops` is called, or until a stage dies."""
    from bloomweaver.runtime import serving  # not before there is something to serve: `try` never needs it

    server = serving.server_of(running.app)
    serving.settle_garbage()
    running.ended(server.stop)
    stops.append(server.stop)
    await server.answer(listener)


def _begin_embedding(
    parts: stages.Stages,
    ports: opened.Ports,
    models: pool.ModelPool,
    unusable: Mapping[str, pool.Unusable],
    offload: embedder_worker.Offload,
) -> None:
    """A model's change queue gets its consumer when the model is loaded."""

    def embed(loaded: pool.Loaded) -> None:
        embedder_worker.begin(parts, ports, loaded, offload=offload)

    for space, what in unusable.items():
        logger.get("models").error("model_not_usable", model=what.model, detail=what.detail)
        embedder_worker.begin_unavailable(parts, space=space, why=what.detail)
    for loaded in models.loaded().values():
        embed(loaded)
    models.on_loaded = embed


def _health(ports: opened.Ports, parts: stages.Stages) -> health.Health:
    made = health.Health(clock=ports.clock)
    made.watch(probes=health.probes_of(ports), check=parts.obstacles)
    return made


def collections_of(ports: opened.Ports, resolve: offering.Resolve, *, default: str) -> managing.Collections:
    """Making and re-indexing collections."""
    return webhook_application.collections_of(ports, offering.Offering(resolve, default=default, names_only=False))


async def introduce(ports: opened.Ports, data: folder.DataFolder, collections: managing.Collections) -> str | None:
    """Make the first tenant and this machine's key known to the ledger; gives the key where this made it."""
    await collections.welcome(webhook_application.TENANT)
    new = not data.key.exists()
    key = await _own_key(ports, data)
    return key if new else None


async def _own_key(ports: opened.Ports, data: folder.DataFolder) -> str:
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
        tenant=webhook_application.TENANT,
        name="this machine",
        hash=digest,
        verbs=ALL_VERBS,
        collections=("*",),
        created_at=clock.now(),
    )
