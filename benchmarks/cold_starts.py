"""Starts of what embeds: the encoder alone to its first vector, and a worker to the first message it has embedded.

With cold files the kernel is told to forget every file of this environment and of the standard library that no other
process has mapped, so they are read from the disk again. The worker runs over PostgreSQL; a document waits for it.
"""

import asyncio
import os
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator

import uvloop

from benchmarks import one_server, report, serving, shapes, wire

ROOT = pathlib.Path(__file__).parents[1]
ROUNDS = 9
ENCODER = """
import asyncio, pathlib, sys
from bloomweaver.adapters.embedders import loading
from bloomweaver.domain import models
from bloomweaver.encoding import batcher

async def first():
    wishes = loading.Wishes(models_dir=pathlib.Path(sys.argv[1]), threads=2)
    embedder = await loading.open_with(f"openvino://{sys.argv[1]}", wishes)
    async with batcher.Batcher(embedder) as encoder:
        await encoder.encode_texts(["how many days of leave"], kind=models.Kind.DOCUMENT)
    print("embedded", flush=True)

asyncio.run(first())
"""
STORED = "SELECT count(*) FROM bloomweaver.chunk"
LIMIT_SECONDS = 60.0


def encoder_seconds() -> float:
    """From the start of a process to its first vector."""
    began = time.perf_counter()
    command = [sys.executable, "-c", ENCODER, str(shapes.installed())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = None
        for line in process.stdout:
            if line == "embedded\n":
                found = time.perf_counter() - began
        if process.wait() != 0 or found is None:
            raise RuntimeError(f"the encoder ended with {process.returncode}, first vector: {found}")
    return found


def files() -> Iterator[pathlib.Path]:
    """What a start may read: the environment, the standard library, the interpreter, the model."""
    places = {pathlib.Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for place in (*places, shapes.installed(), ROOT / "services"):
        yield from (path for path in place.rglob("*") if path.is_file())
    yield pathlib.Path(sys.executable).resolve()


def forget(paths: list[pathlib.Path]) -> None:
    """Out of the page cache, as far as nobody has them mapped."""
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold_seconds(*, count: int) -> list[float]:
    """The encoder's start with the files forgotten before each."""
    paths, took = list(files()), []
    for _ in range(count):
        forget(paths)
        took.append(encoder_seconds())
    return took


async def worker_seconds(place: one_server.Place, *, number: int) -> float:
    """From the start of an embedder to the first chunk that it stored, of a document that was there before."""
    before = place.count(STORED)
    async with place.service("webhook") as webhook, wire.connected(serving.HOST, webhook.port) as connection:
        event = {"change_type": "upsert", "document_id": f"start-{number}", "text": f"Leave is {number} days a year."}
        answer = await connection.ask(wire.request("POST", "/v1/events", key=place.key, body=event))
        if answer.status != 202:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
    began = time.perf_counter()
    stored = asyncio.create_task(asyncio.to_thread(_until_stored, place, before))
    async with place.service("embedder"):
        return await stored - began


def _until_stored(place: one_server.Place, before: int) -> float:
    with place.connected() as connection:
        deadline = time.perf_counter() + LIMIT_SECONDS
        while time.perf_counter() < deadline:
            ((found,),) = connection.execute(STORED.encode()).fetchall()
            if found != before:
                return time.perf_counter()
            time.sleep(0.01)
    raise RuntimeError(f"nothing was embedded within {LIMIT_SECONDS:.0f} s")


def row(measure: str, took: list[float], target: float) -> report.Row:
    """The median, since every start counts."""
    note = f"median of {len(took)}; {min(took):.2f} to {max(took):.2f} s"
    return report.at_most(measure, statistics.median(took), target, form="{:.2f}", unit=" s", note=note)


async def measure(*, quick: bool) -> list[report.Row]:
    """Three rows."""
    count = 2 if quick else ROUNDS
    await asyncio.to_thread(encoder_seconds)  # the bytecode is there, the files are in the cache
    warm = [await asyncio.to_thread(encoder_seconds) for _ in range(count)]
    cold = await asyncio.to_thread(lambda: cold_seconds(count=count))
    async with one_server.placed() as place:
        await worker_seconds(place, number=0)
        worker = [await worker_seconds(place, number=1 + number) for number in range(count)]
    return [
        row("encoder: process start to the first vector, files in the cache", warm, 0.5),
        row("the same with cold files", cold, 1.0),
        row("`bloomweaver-embedder` on PostgreSQL: process start to the first message embedded", worker, 1.0),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
