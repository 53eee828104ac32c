"""The composition root of `bloomweaver dev` and `bloomweaver try`: the embedded adapters, opened in order."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import bloomweaver
from bloomweaver.adapters import opening
from bloomweaver.allinone import folder, running, stages
from bloomweaver.allinone.settings import DevSettings
from bloomweaver.encoding import threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import logs, metrics


@contextlib.asynccontextmanager
async def opened(root: Path, settings: DevSettings, *, purpose: str) -> AsyncIterator[running.Running]:
    """The whole service over one data folder, which is locked meanwhile; `running.serve` answers requests."""
    logs.configure(form=settings.log_form, level=settings.log_level, stream=sys.stderr)
    clock, nonces = opening.system_clock(), opening.system_nonces()
    data = folder.DataFolder(root)
    secret = data.prepare(random=nonces.secret)
    cores = settings.threads or threads.available(len(os.sched_getaffinity(0)))

    async def open_model(name: str) -> embedders.Embedder:
        return await opening.open_embedder(name, models_dir=data.models, threads=cores)

    with data.locked(purpose=purpose):
        addresses = opening.profile(settings.store or f"sqlite:///{data.ledger.absolute()}")
        recorder = metrics.Metrics(metrics.process_registry(), version=bloomweaver.__version__)
        async with opening.open_store(addresses, clock=clock, nonces=nonces, recorder=recorder) as store:
            database = store.database
            outside = running.Outside(
                ports=stages.Ports(
                    ledger=database.ledger,
                    healing=database.healing,
                    registry=database.registry,
                    history=database.history,
                    queues=store.queues,
                    blobs=store.blobs,
                    vectors=store.vectors,
                    clock=clock,
                    nonces=nonces,
                    deployment=await database.registry.deployment(),
                ),
                open_model=open_model,
                list_models=lambda: opening.listed_models(models_dir=data.models),
                sealer=opening.sealer(secret, random=nonces.secret),
                metrics=recorder,
                default_model=settings.model,
                workers=settings.workers,
            )
            async with running.started(outside, data) as service:
                yield service
