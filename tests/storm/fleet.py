"""All services as processes, killed and started again; whatever ends by itself is counted and started again too.

None outlives the harness: each holds the other end of its pipe.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field

from tests.support import running
from tests.support.servers import processes

PARTS = (
    "webhook one", "webhook two", "embedder", "writer --operation=create", "writer --operation=update",
    "writer --operation=delete", "search", "reconciler",
)  # fmt: skip
AGAIN_SECONDS = 0.3

# A process whose clock is wrong: the service's own program, with another clock.
SKEWED = """
import time
from bloomweaver.{name} import main, settings
from bloomweaver.runtime import process

class Skewed:
    def now(self):
        return time.time() + {seconds}
    def monotonic(self):
        return time.monotonic()

process.main(process.Program("{name}", main.ABOUT, settings.{title}Settings, main.begin, Skewed))
"""


@dataclass
class Part:
    """One place for a process. ended: codes of those that ended without being killed."""

    label: str
    log: pathlib.Path
    skew_seconds: float = 0.0
    process: "subprocess.Popen[bytes] | None" = None
    port: int = 0

    @property
    def service(self) -> str:
        return self.label.split()[0]


@dataclass
class Fleet:
    """Parts by label. services: the variables."""

    services: running.Services
    parts: dict[str, Part] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    closing: bool = False
    lifeline: tuple[int, int] = field(default_factory=os.pipe)

    def begin(self, label: str, *, skew_seconds: float = 0.0) -> None:
        """A new part, running."""
        name = label.replace(" ", "-").replace("--operation=", "")
        part = Part(label, self.services.folder / f"{name}.log", skew_seconds)
        self.parts[label] = part
        self._start(part)

    def ports(self, service: str) -> list[int]:
        """Where a service answers, perhaps."""
        return [part.port for part in self.parts.values() if part.service == service and part.process]

    def kill(self, label: str) -> None:
        """With -9. It is started again by `keep`."""
        part = self.parts[label]
        if part.process is not None and part.process.poll() is None:
            part.process.kill()
            part.process.wait()
            self.kills[part.service] += 1
            part.process = None

    async def freeze(self, label: str, seconds: float) -> None:
        """It stands still and then goes on, as if nothing had been."""
        process = self.parts[label].process
        if process is None:
            return
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    async def keep(self) -> None:
        """Start again whatever does not run, until cancelled."""
        while True:
            for part in self.parts.values():
                if part.process is None:
                    await asyncio.to_thread(self._start, part)
                elif (code := part.process.poll()) is not None and code != -signal.SIGKILL:
                    self.ended[f"{part.service} {code} {self._last_reason(part)}"] += 1
                    part.process = None
            await asyncio.sleep(AGAIN_SECONDS)

    def close(self) -> None:
        """Nothing is left."""
        self.closing = True
        for end in self.lifeline:
            os.close(end)
        for part in self.parts.values():
            if part.process is not None:
                part.process.kill()
                part.process.wait()
                part.process = None

    def _start(self, part: Part) -> None:
        if self.closing:
            return
        port = processes.free_port()
        name, *arguments = part.label.split()
        arguments = [argument for argument in arguments if argument.startswith("--")]
        program = SKEWED.format(name=name, title=name.title(), seconds=part.skew_seconds)
        command = ["-c", program] if part.skew_seconds else ["-m", f"bloomweaver.{name}"]
        with part.log.open("ab") as log:
            part.process = subprocess.Popen(
                [sys.executable, *command, f"--port={port}", f"--lifeline-fd={self.lifeline[0]}", *arguments],
                pass_fds=(self.lifeline[0],),
                env=self.services.environment(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        part.port = port

    def _last_reason(self, part: Part) -> str:
        with contextlib.suppress(ValueError, IndexError):
            told = json.loads(part.log.read_text().splitlines()[-1])
            return str(told.get("reason") or told.get("event"))
        return "?"

    def tracebacks(self) -> int:
        """How often a log tells of a fault of ours."""
        return sum(part.log.read_text().count('"exception"') for part in self.parts.values())
