"""What runs in a controller's process: looking at the ledger, holding the Lease, watching, reconciling.

Invariant: only who holds the Lease changes anything; every process answers KEDA, from its own look at the ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
import pydantic

from bloomweaver import logger
from bloomweaver.controller import apply, cache, informer, leadership, reconciling, resources, scaling, work_queue
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import healing
from bloomweaver.runtime import lifecycle, metrics

LOOK_SECONDS: Final = 1.0
LEAST_SECONDS: Final = 0.1
WORKERS: Final = 4
RESYNC_SECONDS: Final = 300.0
WATCHED_SECONDS: Final = 60.0
NOT_LEADING_SECONDS: Final = 5.0


class Looker:
    """Asks the ledger what waits: once a second, and at once when somebody says that something came."""

    def __init__(self, healing: healing.Healing, board: scaling.Board) -> None:
        self._healing = healing
        self._board = board
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now. Nothing is believed but the ledger, so a wrong call wakes no pod."""
        self._woken.set()

    async def once(self) -> None:
        """One look, then a pause."""
        self._board.note(await self._healing.backlog())
        await asyncio.sleep(LEAST_SECONDS)
        await lifecycle.pause(LOOK_SECONDS - LEAST_SECONDS, unless=self._woken)
        self._woken.clear()


def until_told(run: Callable[[], Awaitable[None]], end: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """The informer ends by itself only where it has taken the signal that was meant for the process."""

    async def told() -> None:
        await run()
        end()

    return told


class Worker:
    """Takes keys and looks at them."""

    def __init__(
        self,
        queue: work_queue.WorkQueue,
        reconciler: reconciling.Reconciler,
        *,
        leads: Callable[[], bool],
        metrics: metrics.Metrics,
        seconds: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._leads = leads
        self._metrics = metrics
        self._seconds = seconds
        self._log = logger.get("controller")

    async def once(self) -> None:
        """One key."""
        key = await self._queue.take()
        if not self._leads():
            self._queue.done(key, again_seconds=NOT_LEADING_SECONDS)
            return
        began = self._seconds()
        outcome = await self._look(key)
        depth = self._queue.depth()
        self._metrics.observe_reconcile(outcome, seconds=self._seconds() - began)
        self._metrics.set_controller_queue(depth.keys, oldest_seconds=depth.oldest_seconds)

    async def _look(self, key: str) -> str:
        try:
            again = await self._reconciler.look(key)
        except (errors.BloomWeaverError, pydantic.ValidationError) as error:
            seconds = self._queue.failed(key)
            self._log.warning("reconcile_failed", resource=key, error=str(error), again_in_seconds=seconds)
            return "failed"
        self._queue.done(key, again_seconds=again)
        if again is None:
            self._queue.forget(key)
        return "done"


def resync(queue: work_queue.WorkQueue, known: cache.Cache) -> Callable[[], Awaitable[None]]:
    """Everything is looked at now and then, whatever the watches say."""

    async def once() -> None:
        for key in known.named():
            queue.add(key)

    return once


def watch(
    cluster: apply.Cluster, known: cache.Cache, *, namespace: str, die: Callable[[], None]
) -> Callable[[], Awaitable[None]]:
    """The check of the watches; a dead one ends the process, which is then started anew."""
    dog = informer.Watchdog(known)

    async def once() -> None:
        try:
            listed = await cluster.versions(resources.KIND, namespace=namespace)
        except apply.Refused as refused:
            if refused.code != httpx2.codes.NOT_FOUND:
                raise
            detail = (
                "The cluster does not know EmbeddingModel any more: apply the definition and the resources again. "
                "Collections keep their index and stay searchable."
            )
            raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from refused
        if dog.dead(listed):
            logger.get("controller").error("watch_died", late=sorted(dog.missed))
            die()

    return once


def lead(leadership: leadership.Leadership) -> Callable[[], Awaitable[None]]:
    """Take the Lease, or keep it."""

    async def once() -> None:
        await leadership.renew()

    return once
