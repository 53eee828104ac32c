"""The working part of a process: consumers of queues and repeated tasks, begun together, drained in order.

Invariants: a part that ends by itself ends the process, so nothing is ever half alive; a consumer whose worker says
that it is set up wrongly rests, makes the process unready with the reason, touches no row, and looks again later.
Draining stops receiving, finishes what is in work, and gives back at once what does not end within the grace.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bloomweaver import logger
from bloomweaver.domain.errors import ConfigurationError, TransientError
from bloomweaver.ports import opened, queues
from bloomweaver.runtime import consumer, health, lifecycle, metrics, process, tracing

DRAIN_SECONDS = 20.0
REFUSED_PAUSE_SECONDS = 30.0
GIVE_BACK_SECONDS = 2.0
DRAINING_PART = 0.8  # of the grace; in the rest what did not end is given back and stores are closed


@dataclass(frozen=True, slots=True)
class _Refused:
    """at: on the loop's clock."""

    error: ConfigurationError
    at: float


class Stages:
    """Use as a context: leaving drains. Consumers and tasks may be added before and after entering."""

    def __init__(
        self,
        ports: opened.Ports,
        *,
        metrics: metrics.Metrics,
        on_death: Callable[[], None],
        tracer: tracing.Tracer,
        drain_seconds: float = DRAIN_SECONDS,
        refused_pause_seconds: float = REFUSED_PAUSE_SECONDS,
    ) -> None:
        self._ports = ports
        self._metrics = metrics
        self._on_death = on_death
        self.tracer = tracer
        self._drain_seconds = drain_seconds
        self._refused_pause_seconds = refused_pause_seconds
        self._stopping = asyncio.Event()
        self._consumers: dict[str, consumer.Consumer] = {}
        self._refused: dict[str, _Refused] = {}
        self._working: list[asyncio.Task[None]] = []
        self._repeating: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Stages":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        for each in self._consumers.values():
            each.stop()
        if self._working:
            await asyncio.wait(self._working, timeout=self._drain_seconds)
        everything = [*self._working, *self._repeating]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
        await self._give_back()

    def consume(
        self, queue: str, worker: queues.Worker, *, pace: consumer.Pace, sift: consumer.Sift | None = None
    ) -> None:
        """Begin to work a queue."""
        self._working.append(self._begin(queue, self._tend(queue, worker, pace, sift)))

    def repeat(self, name: str, work: Callable[[], Awaitable[object]], *, seconds: float) -> None:
        """Begin to do something again and again; what a dependency refuses is tried again the next time."""
        self._repeating.append(self._begin(name, self._repeat(name, work, seconds)))

    async def obstacles(self) -> list[str]:
        """What keeps this from working, for readiness: parts that ended, and those whose worker refused."""
        ended = [task.get_name() for task in (*self._working, *self._repeating) if task.done()]
        refused = [
            health.sentence(part, what.error) for part, what in self._refused.items() if self._stands(part, what)
        ]
        return [*(f"{name}: has ended" for name in ended), *refused]

    def _stands(self, part: str, refused: _Refused) -> bool:
        """A refusal is over when work was done since, or when enough time went by without another."""
        loop = self._consumers.get(part)
        if loop is None or loop.progress.refused is not None:
            return True
        age_seconds = asyncio.get_running_loop().time() - refused.at
        return not loop.progress.done and age_seconds < 2 * self._refused_pause_seconds

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    async def _repeat(self, name: str, work: Callable[[], Awaitable[object]], seconds: float) -> None:
        log = logger.get("stages")
        while True:
            try:
                await work()
                self._refused.pop(name, None)
            except TransientError as error:
                log.warning("dependency_failed", stage=name, reason=str(error.reason), detail=error.detail)
            except ConfigurationError as error:
                self._refused[name] = _Refused(error, asyncio.get_running_loop().time())
                log.warning("configuration", stage=name, reason=str(error.reason), detail=error.detail)
            await asyncio.sleep(seconds)

    async def _tend(self, queue: str, worker: queues.Worker, pace: consumer.Pace, sift: consumer.Sift | None) -> None:
        stage = queue.partition(":")[0]
        while not self._stopping.is_set():
            loop = consumer.Consumer(
                queue=queue,
                queues=self._ports.queues,
                ledger=self._ports.ledger,
                worker=worker,
                pace=pace,
                sift=sift,
                on_trouble=lambda reason: self._metrics.count_failure(stage, str(reason)),
                tracer=self.tracer,
            )
            self._consumers[queue] = loop
            await loop.run()
            if loop.progress.refused is None:
                return
            self._refused[queue] = _Refused(loop.progress.refused, asyncio.get_running_loop().time())
            await lifecycle.pause(self._refused_pause_seconds, unless=self._stopping)

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                for each in self._consumers.values():
                    await each.give_back()
        except TimeoutError:
            logger.get("stages").warning("give_back_timed_out")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._stopping.is_set():
            error = None if task.cancelled() else task.exception()
            logger.get("stages").error("stage_ended", stage=task.get_name(), exc_info=error)
            self._on_death()


def hosted(ports: opened.Ports, host: process.Host, *, drain_seconds: float = DRAIN_SECONDS) -> Stages:
    """The stages of a process, whose death ends it."""
    return Stages(
        ports, metrics=host.metrics, on_death=host.die, tracer=host.tracer, drain_seconds=drain_seconds * DRAINING_PART
    )
