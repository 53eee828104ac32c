"""Stands between a test run and a server: when the run's end of the pipe closes, the server ends and its folder goes.

Run as a program, with its order as JSON in the only argument. Prints the server's process id.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys


def main(order: dict) -> None:  # type: ignore[type-arg]  # read from JSON, and only here
    owner = order["owner"]
    drop = {} if owner is None else {"user": owner, "group": owner, "extra_groups": []}
    with pathlib.Path(order["log"]).open("ab") as log:
        server = subprocess.Popen(
            order["command"], cwd=order["folder"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **drop
        )
    print(server.pid, flush=True)
    try:
        while server.poll() is None:
            if select.select([sys.stdin], [], [], 0.2)[0]:  # nothing is ever written: readable means closed
                break
    finally:
        stop(server, order)


def stop(server: "subprocess.Popen[bytes]", order: dict) -> None:  # type: ignore[type-arg]  # read from JSON, and only here
    if server.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, getattr(signal, order["stop_signal"]))
        try:
            server.wait(order["stop_within_seconds"])
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        # Where the run is over without having cleaned up, nobody else will.
        shutil.rmtree(order["folder"], ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(json.loads(sys.argv[1]))
