"""`python -m tests.support.servers prepare`: get every server that can be had here. `run NAME`: one, until Ctrl-C."""

import argparse
import signal
import time

from tests.support.servers import catalog, processes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="fetch and build what the servers need")
    commands.add_parser("run", help="start one and print its address").add_argument("name", choices=catalog.MODULES)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare()
    else:
        run(arguments.name)


def prepare() -> None:
    """One line for each server; what is missing is no failure here, its tests are counted apart."""
    for name in catalog.MODULES:
        started = time.monotonic()
        try:
            found = catalog.module(name).prepare()
            print(f"{name}: {found} ({time.monotonic() - started:.1f} s)", flush=True)
        except processes.Absent as absent:
            print(f"{name}: not run: {absent}", flush=True)


def run(name: str) -> None:
    """Until it is interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has what it starts in the background ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        with catalog.module(name).running() as server:
            for variable, value in server.env.items():
                print(f"export {variable}={value}")
            print(server.url, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return
    except processes.Absent as absent:
        raise SystemExit(f"not run: {absent}") from absent


if __name__ == "__main__":
    main()
