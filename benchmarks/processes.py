"""Each service as a process: from its start to ready, and what it holds then, over one SQLite file, idle."""

import asyncio
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import uvloop

from benchmarks import measuring, report

ROUNDS = 5
SERVICES = ("webhook", "embedder", "writer", "search", "reconciler")
SECRET = "5e" * 32
LIMIT_SECONDS = 60.0


def start(name: str, folder: pathlib.Path) -> tuple[subprocess.Popen[bytes], int]:
    """The process and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    secret = folder / "secret"
    secret.write_text(SECRET)
    environment = {
        **os.environ,
        "BLOOMWEAVER_STORE": f"sqlite:///{folder}/ledger.db",
        "BLOOMWEAVER_MODELS": str(folder / "models"),
        "BLOOMWEAVER_SECRET_FILE": str(secret),
        "BLOOMWEAVER_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", f"bloomweaver.{name}", f"--port={port}"]
    return subprocess.Popen(command, env=environment), port


def until_ready(port: int) -> None:
    """Asks without a pause that would count."""
    deadline = time.perf_counter() + LIMIT_SECONDS
    while time.perf_counter() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.01)
    raise RuntimeError(f"port {port} was not ready in {LIMIT_SECONDS:g} s")


def once(name: str, folder: pathlib.Path) -> tuple[float, float, float]:
    """Seconds to ready, processor seconds until then, megabytes."""
    began = time.perf_counter()
    process, port = start(name, folder)
    try:
        until_ready(port)
        return (
            time.perf_counter() - began,
            measuring.processor_seconds(process.pid),
            measuring.proportional_megabytes(process.pid),
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def rows_of(*, rounds: int) -> list[report.Row]:
    """A row for each service."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bloomweaver-") as place:
        folder = pathlib.Path(place)
        once("webhook", folder)  # makes the database and the first collection
        for name in SERVICES:
            found = [once(name, folder) for _ in range(rounds)]
            took, used, held = (sorted(column) for column in zip(*found, strict=True))
            note = f"best of {rounds}, median {statistics.median(took):.2f} s; {held[-1]:.0f} MB (PSS) when ready"
            rows.append(
                report.Row(f"`bloomweaver-{name}`: start to ready", f"{took[0]:.2f} s, {used[0]:.2f} s CPU", note=note)
            )
    return rows


async def measure(*, quick: bool) -> list[report.Row]:
    """Five rows."""
    return await asyncio.to_thread(rows_of, rounds=1 if quick else ROUNDS)


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
