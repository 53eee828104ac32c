"""The controller as a process against an API server on loopback: 300 resources from a cold start, and what it costs.

From the start of the process until every resource has its objects and says `Ready`; its memory then, by share (PSS);
and what it writes in the 20 s after, in which nothing changes: nothing.
"""

import asyncio
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import uvloop

from benchmarks import kubernetes_server, measuring, report
from tests.support import kubernetes_api

RESOURCES = 300
LIMIT_SECONDS = 900.0
QUIET_SECONDS = 20.0
OBJECTS = ("deployments", "networkpolicies", "scaledobjects")


def begun(folder: pathlib.Path, port: int) -> "subprocess.Popen[bytes]":
    """The process."""
    settings = {
        "STORE": f"sqlite:///{folder}/ledger.db",
        "KUBECONFIG": kubernetes_api.kubeconfig(folder, f"http://127.0.0.1:{port}"),
        "NAMESPACE": "kb",
        "PORT": "0",
        "SCALER_PORT": "0",
        "CPU_IMAGE": "embedder",
        "GPU_IMAGE": "embedder-torch",
        "LOG_LEVEL": "error",
    }
    variables = {name: value for name, value in os.environ.items() if not name.startswith("BLOOMWEAVER_")}
    variables |= {f"BLOOMWEAVER_{name}": value for name, value in settings.items()}
    return subprocess.Popen([sys.executable, "-m", "bloomweaver.controller"], env=variables, cwd=folder)


def ready(server: kubernetes_server.Server) -> int:
    """Resources that say so."""
    conditions = [body.get("status", {}).get("conditions", []) for body in server.objects["embeddingmodels"].values()]
    return sum(any(each["type"] == "Ready" and each["status"] == "True" for each in one) for one in conditions)


async def measure(*, quick: bool) -> list[report.Row]:
    """Seconds, megabytes, writes."""
    wanted, server = RESOURCES // 10 if quick else RESOURCES, kubernetes_server.Server()
    for number in range(1, wanted + 1):
        server.put("embeddingmodels", kubernetes_server.model(number))
    async with server.serving():
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            process = begun(pathlib.Path(folder), server.port)
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    while ready(server) < wanted or any(len(server.objects[kind]) < wanted for kind in OBJECTS):
                        if process.poll() is not None:
                            raise RuntimeError(f"the controller ended with {process.returncode}")
                        await asyncio.sleep(0.05)
                seconds, written = time.perf_counter() - began, server.writes
                busy = measuring.processor_seconds(process.pid)
                await asyncio.sleep(2 if quick else QUIET_SECONDS)
                megabytes, more = measuring.proportional_megabytes(process.pid), server.writes - written
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)
    note = f"{busy:.1f} s of one processor, {written:,} writes"
    return [
        report.at_most(
            f"{wanted} resources from a cold start to `Ready`", seconds, 60, form="{:.1f}", unit=" s", note=note
        ),
        report.at_most("memory (PSS) of the controller then", megabytes, 150, unit=" MB"),
        report.at_most(f"writes in the {QUIET_SECONDS:.0f} s after", more, 0),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick="--quick" in sys.argv))))
