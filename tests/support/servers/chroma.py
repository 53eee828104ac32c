"""A Chroma server, from the wheel that the development dependencies bring; its data go with it.

BLOOMWEAVER_TEST_CHROMA_URL names one that is already there.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import urllib.request
from collections.abc import Iterator

from tests.support.servers import processes

NAME = "Chroma"
GIVEN = "BLOOMWEAVER_TEST_CHROMA_URL"


def prepare() -> str:
    """Comes with the development dependencies; there is nothing to fetch."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    _program()
    return f"{NAME} {importlib.metadata.version('chromadb')}"


@contextlib.contextmanager
def running() -> Iterator[processes.Server]:
    """An empty one."""
    given = os.environ.get(GIVEN)
    if given:
        yield processes.Server(NAME, given)
        return
    port = processes.free_port()
    with processes.folder("chroma") as folder:
        command = [str(_program()), "run", "--path", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
        ready = functools.partial(_ready, port)
        silent = {"ANONYMIZED_TELEMETRY": "False"}
        with processes.started(command, name=NAME, folder=folder, ready=ready, env=silent) as pid:
            yield processes.Server(NAME, f"http://127.0.0.1:{port}", pid=pid)


def _program() -> pathlib.Path:
    program = pathlib.Path(sys.executable).with_name("chroma")
    if importlib.util.find_spec("chromadb") is None or not program.exists():
        raise processes.Absent(f"{NAME}: the wheel chromadb is not installed")
    return program


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
