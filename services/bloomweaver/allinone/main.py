"""The composition root of `bloomweaver dev` and `bloomweaver try`: the embedded adapters, opened in order."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import bloomweaver
from bloomweaver.adapters import opening
from bloomweaver.allinone import folder, running, settings, stages
from bloomweaver.encoding import threads
from bloomweaver.ports import embedders
from bloomweaver.runtime import logs, metrics


@contextlib.asynccontextmanager
async def opened(root: Path, wishes: settings.DevSettings, *, purpose: str) -> AsyncIterator[running.Running]:
    """The whole service over one data folder, which is locked meanwhile; `running.serve` answers requests."""
    logs.configure(form=wishes.log_form, level=wishes.log_level, stream=sys.stderr)
    clock, nonces = opening.system_clock(), opening.system_nonces()
    data = folder.DataFolder(root)
    secret = data.prepare(random=nonces.secret)
    cores = wishes.threads or threads.available(len(os.sched_getaffinity(0)))

    async def open_model(name: str) -> embedders.Embedder:
        return await opening.open_embedder(name, models_dir=data.models, threads=cores)

    with data.locked(purpose=purpose):
        addresses = opening.profile(wishes.store or f"sqlite:///{data.ledger.absolute()}")
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
                default_model=wishes.model,
                workers=wishes.workers,
            )
            async with running.started(outside, data) as service:
                yield service
