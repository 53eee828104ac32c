"""`python -m tests.storm.pinecone --port N`: the Pinecone fake as a process; lines on stdin change what goes wrong.

A line is NAME=VALUE of `faults.Faults`. It ends when stdin does.
"""

import argparse
import asyncio
import sys
import time

import uvicorn

from bloomweaver.testing.pinecone_wire import faults, service, serving

DIMENSION = 8
CALM = {"late": 0.02, "late_seconds": 2.0, "lost_answer": 0.01, "lag_seconds": 0.2}


async def main(port: int, *, dimension: int, metric: str) -> None:
    wrong = faults.Faults(**CALM)  # type: ignore[arg-type]  # names and numbers of the dataclass
    fake = service.Service(dimension=dimension, metric=metric, clock=time.monotonic, faults=wrong)
    config = uvicorn.Config(serving.application(fake), host="127.0.0.1", port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    print("listening", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, _, value = line.strip().partition("=")
        setattr(wrong, name, float(value))
    server.should_exit = True
    await serve


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    parser.add_argument("--metric", default="cosine")
    given = parser.parse_args()
    asyncio.run(main(given.port, dimension=given.dimension, metric=given.metric))
