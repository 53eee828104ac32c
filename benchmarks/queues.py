"""Hints per second through each queue: send, receive and ack in batches of ten, by one worker and by several."""

import asyncio
import pathlib
import tempfile
import time

from bloomweaver.adapters import clock, opening
from bloomweaver.ports import queues
from bloomweaver.testing.contracts import queues as contract

BATCH = 10
HINTS = 10_000
QUEUE = "change:space"


async def circulate(store: queues.Queues, *, workers: int) -> float:
    """Hints per second, each sent, received and acked."""
    batch = contract.hints(BATCH)

    async def worker() -> None:
        for _ in range(HINTS // BATCH // workers):
            await store.send(QUEUE, batch)
            await store.ack(QUEUE, await store.receive(QUEUE, limit=BATCH, visibility_seconds=60.0))

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return HINTS / (time.perf_counter() - began)


async def idle_receive_microseconds(store: queues.Queues) -> float:
    """What asking an empty queue costs."""
    began = time.perf_counter()
    for _ in range(1000):
        await store.receive("empty", limit=BATCH, visibility_seconds=60.0)
    return (time.perf_counter() - began) * 1000


async def main() -> None:
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as folder:
        for url in ("mem://", f"sqlite:///{folder}/queues.db"):
            async with opening.open_queues(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as store:
                scheme = url.partition(":")[0]
                for workers in (1, 4, 16):
                    rate = await circulate(store, workers=workers)
                    print(f"{scheme:6} {workers:2} workers: {rate:9,.0f} hints/s sent, received and acked")
                print(f"{scheme:6} empty receive: {await idle_receive_microseconds(store):.0f} us")


if __name__ == "__main__":
    asyncio.run(main())
