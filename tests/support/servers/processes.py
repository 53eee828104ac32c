"""Starts a server beside the tests, waits until it answers, and stops it by its process id.

Invariant: no server outlives the run that started it, not even one that is killed. Between the two stands `guard.py`,
which ends the server and removes its folder when the pipe from the test run closes.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

NOBODY = 65534
"""The account of servers that refuse to run as root, where the tests run as root."""

READY_WITHIN_SECONDS = 180.0
STOPPED_WITHIN_SECONDS = 60.0

_ROOT = pathlib.Path(__file__).parents[3]
_GUARD = pathlib.Path(__file__).with_name("guard.py")


class Absent(Exception):
    """The server cannot be had on this machine; the message is the reason."""


class Broken(RuntimeError):
    """The server is here, but did not start: a defect to be looked at, not a test to be left out."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. env: what its clients need beside the URL, credentials for example."""

    name: str
    url: str
    env: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None


def cache(name: str) -> pathlib.Path:
    """Where what was fetched or built for a server is kept from run to run; git ignores it."""
    kept = os.environ.get("BLOOMWEAVER_TEST_SERVERS_DIR")
    folder = (pathlib.Path(kept) if kept else _ROOT / ".servers") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10.0):
        return True
    return False


def account() -> int | None:
    """Whom to run a server as that refuses root; None where we are not root anyway."""
    return NOBODY if os.getuid() == 0 else None


@contextlib.contextmanager
def folder(name: str, *, owner: int | None = None) -> Iterator[pathlib.Path]:
    """A fresh folder for a server's data and log. owner: to whom it belongs, and who can reach it."""
    made = pathlib.Path(tempfile.mkdtemp(prefix=f"bloomweaver-{name}-"))
    try:
        if owner is not None:
            os.chown(made, owner, owner)
            if not reachable(made, owner):
                raise Absent(f"{name} must not run as root, and others cannot enter {made.parent}; set TMPDIR")
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def reachable(path: pathlib.Path, owner: int) -> bool:
    """Whether that account can read what is there: every folder above has to let it through."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'test -r "$0"', str(path)], user=owner, group=owner, extra_groups=[], cwd="/", check=False
    )
    return done.returncode == 0


@contextlib.contextmanager
def started(
    command: Sequence[str],
    *,
    name: str,
    folder: pathlib.Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    owner: int | None = None,
    stop_signal: str = "SIGTERM",
    within_seconds: float = READY_WITHIN_SECONDS,
) -> Iterator[int]:
    """Runs the command in `folder` until the context ends, from when `ready()` first holds; gives its process id."""
    log = folder / "server.log"
    order = {"command": list(command), "folder": str(folder), "log": str(log), "stop_signal": stop_signal,
             "owner": owner, "stop_within_seconds": STOPPED_WITHIN_SECONDS}  # fmt: skip
    guard = subprocess.Popen(
        [sys.executable, "-S", "-E", str(_GUARD), json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests; they stop their servers in order
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    with guard:
        try:
            pid = int(guard.stdout.readline() or "0")
            _wait(name, guard, ready=ready, log=log, within_seconds=within_seconds)
            yield pid
        finally:
            guard.stdin.close()


def _wait(
    name: str,
    guard: "subprocess.Popen[str]",
    *,
    ready: Callable[[], bool],
    log: pathlib.Path,
    within_seconds: float,
) -> None:
    give_up = time.monotonic() + within_seconds
    while not ready():
        ended = guard.poll() is not None
        if ended or time.monotonic() > give_up:
            told = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""
            what = "ended at once" if ended else f"did not answer within {within_seconds:.0f} s"
            raise Broken(f"{name} {what}. The end of its log:\n{told}")
        time.sleep(0.02)
