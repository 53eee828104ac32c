"""`bloomweaver` as real processes on loopback, with a small model of random weights so that starts are quick."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.support import tiny_models

START_SECONDS = 180.0
PROGRAM = (sys.executable, "-c", "from bloomweaver.cli import main; main.main()")


class Deployment:
    """A data folder, a port, and whatever runs on them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "dev.log"
        self.model = tiny_models.write(folder / "tiny")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BLOOMWEAVER_")},
            "BLOOMWEAVER_MODEL": str(self.model),
            "BLOOMWEAVER_DATA": str(self.data),
            "BLOOMWEAVER_URL": self.url,
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def begin(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command."""
        command = [*PROGRAM, *arguments]
        return subprocess.Popen(command, env=self.environment, text=True, preexec_fn=_heed_ctrl_c, **options)  # noqa: PLW1509 no threads yet

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=START_SECONDS,
        )

    def result(self, *arguments: str) -> Any:
        """The JSON of a command that has to end well."""
        ended = self.run(*arguments, "--json")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    @contextlib.contextmanager
    def serving(self) -> Iterator[subprocess.Popen[str]]:
        """`dev`, ready; killed at the end if it still runs."""
        with self.log.open("a") as log:
            process = self.begin("dev", "--port", str(self.port), stdout=log, stderr=log)
            try:
                self._until_ready(process)
                yield process
            finally:
                process.kill()
                process.wait()

    def _until_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert process.poll() is None, self.log.read_text()
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"{self.url}/readyz", timeout=START_SECONDS) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready in time:\n{self.log.read_text()}")

    def text(self, document_id: str) -> str:
        """The text of a document as the server has it."""
        key = (self.data / "key").read_text().strip()
        quoted = urllib.request.quote(document_id, safe="")  # type: ignore[attr-defined]  # not in the stubs
        request = urllib.request.Request(
            f"{self.url}/v1/collections/default/documents/{quoted}/text?version=live",
            headers={"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            return str(answer.read().decode())


def _heed_ctrl_c() -> None:
    """A shell that starts the tests in the background has them ignore SIGINT, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(process: subprocess.Popen[str], number: int = signal.SIGINT) -> int:
    """Ask a process to end, and wait for it."""
    process.send_signal(number)
    return process.wait(timeout=START_SECONDS)
