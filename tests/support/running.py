"""The services as real processes on loopback, over a store that they share, with a model that needs no files.

    with running.Services(tmp_path, store="sqlite:////…") as services:
        services.start("webhook"); services.start("writer", "--operation=delete")
        services.until_ready()

Every process is ended by its number, whatever a test does.
"""

import asyncio
import contextlib
import http.client
import inspect
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MODEL = "mem://?dimension=8"
SECRET = "5e" * 32
START_SECONDS = 180.0
END_SECONDS = 120.0
"""Both end what hangs, on a machine that does ten other things; nothing is measured by them."""


@dataclass
class Service:
    """One process."""

    process: subprocess.Popen[bytes]
    port: int
    log: pathlib.Path

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body; (0, None) where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            return answer.status, json.loads(body) if "json" in answer.headers["content-type"] else body
        except OSError:
            return 0, None
        finally:
            connection.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(timeout=END_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """Its log, which is JSON because no person is in front of it."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def events(self) -> list[str]:
        """What its log tells, in order."""
        return [line["event"] for line in self.lines()]


@dataclass
class Services:
    """Processes over one store. extra: more variables for all of them."""

    folder: pathlib.Path
    store: str
    extra: Mapping[str, str] = field(default_factory=dict)
    running: list[Service] = field(default_factory=list)

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.running:
            if service.process.poll() is None:
                service.process.kill()
            service.process.communicate()

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("BLOOMWEAVER_", "OTEL_"))}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        model = {} if name in ("writer", "reconciler") else {"BLOOMWEAVER_MODEL": MODEL}
        secret = {"BLOOMWEAVER_SECRET_FILE": str(self._secret())} if name == "webhook" else {}
        models = {"BLOOMWEAVER_MODELS": str(self.folder / "models")} if model else {}
        return {**kept, "BLOOMWEAVER_STORE": self.store, **model, **models, **secret, **self.extra}

    def start(self, name: str, *arguments: str, program: str | None = None) -> Service:
        """Start a service on a free port. program: instead of `python -m`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        log = self.folder / f"{len(self.running)}-{name}.log"
        command = ["-c", program] if program is not None else ["-m", f"bloomweaver.{name}"]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, *command, f"--port={port}", *arguments],
                env=self.environment(name),
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        service = Service(process, port, log)
        self.running.append(service)
        return service

    def until_ready(self) -> None:
        """Wait for all that were started."""
        for service in self.running:
            until(lambda service=service: service.get("/readyz")[0] == 200, what=service.log)  # type: ignore[misc]  # a default binds it

    def _secret(self) -> pathlib.Path:
        file = self.folder / "secret"
        file.write_text(SECRET)
        return file


def until(reached: Callable[[], bool], *, what: pathlib.Path | str = "", seconds: float = START_SECONDS) -> None:
    """Wait until something is the case."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            told = what.read_text() if isinstance(what, pathlib.Path) else what
            raise AssertionError(f"did not happen in {seconds:g} s: {told}")
        time.sleep(0.05)


async def eventually(found: Callable[[], Any]) -> Any:
    """What a function, or its coroutine, gives at last that gives nothing at first. The test's own limit ends it."""
    while True:
        given = found()
        given = await given if inspect.isawaitable(given) else given
        if given:
            return given
        await asyncio.sleep(0.005)


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Read and write end."""
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        for end in (read, write):
            with contextlib.suppress(OSError):
                os.close(end)
