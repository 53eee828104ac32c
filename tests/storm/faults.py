"""What goes wrong in a storm beside kills: one after another, each for a while, then it is given back."""

import asyncio
import contextlib
import pathlib
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.storm import clients, fleet, servers

SLOW_SECONDS = 0.05

Fault = Callable[[], Awaitable[None]]


@dataclass
class Director:
    """Kills as the events go on, and one fault after another beside them.

    kills: how many in all. fault_seconds: how long each of the faults lasts.
    """

    fleet: fleet.Fleet
    pace: clients.Pace
    dice: random.Random
    kills: int
    fault_seconds: float
    happened: Counter[str] = field(default_factory=Counter)

    async def kill(self) -> None:
        """Spread over the events, and over no more than the meant time twice."""
        for number in range(self.kills):
            due = (number + 0.5) / self.kills
            while self.pace.progress < due:  # noqa: ASYNC110 - by the numbers
                await asyncio.sleep(0.1)
            running = [label for label, part in self.fleet.parts.items() if part.process is not None]
            await asyncio.to_thread(self.fleet.kill, self.dice.choice(running))
            self.happened["kill -9 of a process"] += 1

    async def trouble(self, faults: dict[str, Fault]) -> None:
        """Each once, evenly over the events."""
        for number, (name, fault) in enumerate(faults.items()):
            while self.pace.progress < (number + 0.3) / len(faults):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
            self.happened[name] += 1
            await fault()

    def of_postgresql(self, server: servers.Postgresql, proxy: servers.Proxy) -> dict[str, Fault]:
        """What a database server does."""

        async def restart(number: int) -> None:
            await asyncio.to_thread(server.stop, number)
            await asyncio.to_thread(server.start)

        async def slow() -> None:
            proxy.delay_seconds = SLOW_SECONDS
            await asyncio.sleep(self.fault_seconds)
            proxy.delay_seconds = 0.0

        async def full() -> None:
            with contextlib.ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, server.out_of_connections())
                await asyncio.to_thread(self.fleet.kill, "embedder")
                self.happened["kill -9 of a process"] += 1
                await asyncio.sleep(self.fault_seconds)

        return {
            "PostgreSQL restarted": lambda: restart(signal.SIGINT),
            "a process frozen, then going on": self.freeze,
            "PostgreSQL slow (50 ms each way)": slow,
            "PostgreSQL shut down at once": lambda: restart(signal.SIGQUIT),
            "PostgreSQL out of connections": full,
        }

    async def freeze(self) -> None:
        """Longer than its hints are its own."""
        labels = [label for label in self.fleet.parts if label.startswith(("writer", "embedder"))]
        await self.fleet.freeze(self.dice.choice(labels), self.fault_seconds)

    async def gone(self, queue: "servers.Double | servers.ElasticMQ") -> None:
        """Killed, and back without what it held."""
        await asyncio.to_thread(queue.kill)
        await asyncio.sleep(self.fault_seconds)
        await asyncio.to_thread(queue.start)

    def of_queues(self, queue: "servers.ElasticMQ", server: servers.Postgresql) -> dict[str, Fault]:
        """What a real queue server does beside a database, and both of them."""

        async def both() -> None:
            await asyncio.to_thread(server.stop, signal.SIGQUIT)
            await self.gone(queue)
            await asyncio.to_thread(server.start)

        return {
            "queue server killed, back empty": lambda: self.gone(queue),
            "a process frozen, then going on": self.freeze,
            "queue server and PostgreSQL killed": both,
        }

    def of_doubles(self, queue: servers.Double, vectors: servers.Double, disk: pathlib.Path) -> dict[str, Fault]:
        """What the servers beside the database do."""

        async def throttled() -> None:
            vectors.tell("throttle=1.0")
            await asyncio.sleep(self.fault_seconds)
            vectors.tell("throttle=0.0")

        async def disk_full() -> None:
            await asyncio.to_thread(servers.fill, disk)
            await asyncio.sleep(self.fault_seconds)
            await asyncio.to_thread(servers.unfill, disk)

        return {
            "queue server gone, back empty": lambda: self.gone(queue),
            "vector store answers 429": throttled,
            "disk full for blobs": disk_full,
            "a process frozen, then going on": self.freeze,
        }
