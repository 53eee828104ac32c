"""The composition root of `bloomweaver dev` and `bloomweaver try`: the embedded adapters, opened in order.

The model is begun before the web framework is imported: the one reads and compiles in a thread, the other is half a
second of Python, and a person waits for both.
"""

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bloomweaver
from bloomweaver.adapters import opening
from bloomweaver.allinone import folder, settings
from bloomweaver.domain.errors import BloomWeaverError, ConfigurationError, TransientError
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import pool, threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import environment, health, logs, metrics, tracing
from bloomweaver.runtime.web import deferring

if TYPE_CHECKING:
    from bloomweaver.allinone import administration, processes, running

PRIVATE: Final = "mem://"
LOCAL: Final = ("mem:", "sqlite:", "file:")
EXAMINED_SECONDS: Final = 20.0


@contextlib.asynccontextmanager
async def opened(root: Path, wishes: settings.DevSettings, *, purpose: str) -> AsyncIterator["running.Running"]:
    """The whole service over one data folder, which is locked meanwhile; `running.serve` answers requests."""
    logs.configure(form=logs.form_of(wishes.log_form, sys.stderr), level=wishes.log_level, stream=sys.stderr)
    clock, nonces = opening.system_clock(), opening.system_nonces()
    data = folder.DataFolder(root)
    secret = data.prepare(random=nonces.secret)
    cores = wishes.threads or threads.available(len(os.sched_getaffinity(0)))
    room = threads.memory_bytes()

    async def open_model(name: str) -> embedders.Embedder:
        return await opening.open_embedder(
            name, models_dir=data.models, threads=cores, memory_bytes=room, hosted=wishes.hosted()
        )

    with data.locked(purpose=purpose):
        async with pool.begun(open_model, wishes.model) as open_begun:
            with deferring.models_at_first_use():
                from bloomweaver.allinone import running

            addresses = _addresses(wishes, wishes.store or f"sqlite:///{data.ledger.absolute()}")
            access = opening.Access(postgresql_password=wishes.password, cache=wishes.cache)
            version, variables = bloomweaver.__version__, environment.read()
            recorder = metrics.Metrics(metrics.process_registry(), version=version)
            async with contextlib.AsyncExitStack() as stack:
                tracer = stack.enter_context(tracing.opened_tracer("bloomweaver", version=version, variables=variables))
                store = await stack.enter_async_context(
                    opening.open_store(addresses, clock=clock, nonces=nonces, recorder=recorder, access=access)
                )
                outside = running.Outside(
                    ports=await opening.all_ports(store, clock=clock, nonces=nonces),
                    open_model=open_begun,
                    list_models=lambda: opening.listed_models(models_dir=data.models, hosted=wishes.hosted()),
                    sealer=opening.sealer(secret, random=nonces.secret),
                    metrics=recorder,
                    tracer=tracer,
                    default_model=wishes.model,
                    workers=wishes.workers,
                )
                yield await stack.enter_async_context(running.started(outside, data))


@contextlib.asynccontextmanager
async def supervised(
    root: Path, wishes: settings.DevSettings, *, tell: Callable[[str, str], None]
) -> AsyncIterator[tuple["processes.Fleet", str | None]]:
    """Every service as a process of its own, over a store that is migrated first; and the key, if it is new."""
    from bloomweaver.allinone import processes, running

    logs.configure(form=logs.form_of(wishes.log_form, sys.stderr), level=wishes.log_level, stream=sys.stderr)
    clock, nonces = opening.system_clock(), opening.system_nonces()
    data = folder.DataFolder(root)
    data.prepare(random=nonces.secret)
    store = wishes.store or f"sqlite:///{data.ledger.absolute()}"
    if store.startswith("mem:"):
        detail = "mem:// is private to one process: give --processes a store that several can share."
        raise ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    with data.locked(purpose="bloomweaver dev --processes"):
        access = opening.Access(postgresql_password=wishes.password)
        addresses = _addresses(wishes, store)
        async with opening.open_store(addresses, clock=clock, nonces=nonces, access=access) as opened_store:
            ports = await opening.all_ports(opened_store, clock=clock, nonces=nonces)
            resolve = functools.partial(opening.resolved_model, models_dir=data.models, hosted=wishes.hosted())
            new_key = await running.introduce(ports, data, running.collections_of(ports, resolve, default=wishes.model))
        variables = environment.read()
        async with processes.opened(data, wishes, store=store, variables=variables, clock=clock, tell=tell) as fleet:
            yield fleet, new_key


@contextlib.asynccontextmanager
async def administered(
    root: Path, wishes: settings.DevSettings, *, purpose: str
) -> AsyncIterator["administration.Administration"]:
    """The registry, for its owner. No model is loaded, so this runs wherever the command line does."""
    from bloomweaver.allinone import administration
    from bloomweaver.text import parsing
    from bloomweaver.webhook import managing, offering

    clock, nonces = opening.system_clock(), opening.system_nonces()
    data = folder.DataFolder(root)
    data.prepare(random=nonces.secret)
    url = wishes.store or f"sqlite:///{data.ledger.absolute()}"
    access = opening.Access(postgresql_password=wishes.password)
    resolve = functools.partial(opening.resolved_model, models_dir=data.models, hosted=wishes.hosted())
    with data.locked(purpose=purpose):
        async with opening.open_database(url, clock=clock, nonces=nonces, access=access) as database:
            collections = managing.Collections(
                registry=database.registry,
                ledger=database.ledger,
                models=offering.Offering(resolve, default=wishes.model, names_only=False),
                revision=parsing.PIPELINE_REVISION,
            )
            yield administration.Administration(database.registry, collections, clock, nonces)


async def migrate(wishes: settings.DevSettings, *, restored: bool) -> list[dict[str, object]] | None:
    """Bring a store on servers to this release; what was done, by component. None: the store is the data folder's."""
    if wishes.store is None or wishes.store.startswith(("sqlite:", "mem:")):
        return None
    addresses = _addresses(wishes, wishes.store)
    clock, nonces = opening.system_clock(), opening.system_nonces()
    access = opening.Access(postgresql_password=wishes.password)
    done = await opening.migrate(addresses, clock=clock, nonces=nonces, access=access, restored=restored)
    return [
        {"component": part.component, "found": part.found, "version": part.version, "scripts": list(part.scripts)}
        for part in done
    ]


async def examined(wishes: settings.DevSettings) -> dict[str, BloomWeaverError | None]:
    """Each port that lies on a server: opened by itself and asked as the services do, and why that cannot be done.

    Nothing is made or changed, and nothing of a private store or the data folder is looked at.
    """
    addresses = _addresses(wishes, wishes.store or PRIVATE)
    alone = opening.Addresses(PRIVATE, PRIVATE, PRIVATE, PRIVATE)
    parts = {part: url for part, url in asdict(addresses).items() if not url.startswith(LOCAL)}
    found = [await _answer_of(part, replace(alone, **{part: url}), wishes) for part, url in parts.items()]
    return dict(zip(parts, found, strict=True))


async def _answer_of(part: str, addresses: opening.Addresses, wishes: settings.DevSettings) -> BloomWeaverError | None:
    clock, nonces = opening.system_clock(), opening.system_nonces()
    access = opening.Access(postgresql_password=wishes.password, migrates=False)
    try:
        async with (
            asyncio.timeout(EXAMINED_SECONDS),
            opening.open_store(addresses, clock=clock, nonces=nonces, access=access) as store,
        ):
            probes = health.probes_of(await opening.all_ports(store, clock=clock, nonces=nonces))
            await probes["ledger" if part == "database" else part]()
    except BloomWeaverError as error:
        return error
    except TimeoutError:
        return TransientError(Reason.OVERLOADED, f"No answer within {EXAMINED_SECONDS:g} s.")
    return None


def _addresses(wishes: settings.DevSettings, store: str) -> opening.Addresses:
    return opening.profile(store, queues=wishes.queues, blobs=wishes.blobs, vectors=wishes.vectors)
