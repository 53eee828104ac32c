"""Measure, and write docs/reference/benchmarks.md: `python -m benchmarks.run [NAME…] [--quick]`.

Each benchmark has a section of the page and writes it when it is through; with names only those run, and the sections
of the others stay. `--quick` leaves the page alone: its figures are for trying the scripts. Nothing here is a test: a
figure that misses its target is written down, not an error.
"""

import argparse
import importlib
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Mapping

import uvloop

from benchmarks import report
from tests.support.servers import processes

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
TABLE = (
    "accepts", "pipeline", "edit", "deletes", "freshness", "startup", "cold_starts", "processes", "memory",
    "controller", "simulation",
)  # fmt: skip
SERVER = ("server_accepts", "server_search", "server_vectors", "server_queues", "server_memory", "server_limits")
PARTS = ("ledger", "queues", "sqs", "vectors", "embedding", "splitting")
ENCODER = ("embedders", "retrieval", "encoder_paths")
ALL = (*TABLE, *SERVER, *PARTS, *ENCODER)

INTRODUCTION = """# Benchmarks

Written by `make bench`, which runs every script of `benchmarks/`; what each one does stands at its head. Figures are of
one machine and one day; a target that is not met there says so. Where the machine had other work too, which the load
before tells, a row gives its best round and names the others.
"""
SECTION = re.compile(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


async def rows_of(name: str, *, quick: bool) -> str:
    """The table of one benchmark of the whole."""
    return report.table(await importlib.import_module(f"benchmarks.{name}").measure(quick=quick))


def printed_by(name: str) -> str:
    """What a benchmark of a part prints."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    said = done.stdout.rstrip()
    return said if "\n| ---" in said else f"```text\n{said}\n```"


def section(name: str, *, quick: bool) -> str:
    """One benchmark's part of the page."""
    print(f"{name} …", flush=True)
    circumstances, began = report.circumstances(), time.perf_counter()
    figures = uvloop.run(rows_of(name, quick=quick)) if name in (*TABLE, *SERVER) else printed_by(name)
    print(f"{figures}\n{name}: {time.perf_counter() - began:.0f} s\n", flush=True)
    return f"{figures}\n\n{circumstances}"


def page(sections: Mapping[str, str]) -> str:
    """The reference page."""
    about = "\n".join(
        ["| machine | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in report.machine())]
    )
    parts = [f"## {name}\n\n{sections[name].strip()}\n" for name in ALL if name in sections]
    return "\n".join([INTRODUCTION, f"{about}\n", *parts])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="a tenth of it or less: to see that the scripts work")
    options = parser.parse_args()
    unknown = set(options.names) - set(ALL)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in options.names or ALL:
        try:
            measured = section(name, quick=options.quick)
        except processes.Absent as absent:
            print(f"{name}: not run: {absent}\n", flush=True)
            continue
        if not options.quick:
            # Read again each time: another run may have written its sections meanwhile.
            known = dict(SECTION.findall(PAGE.read_text(encoding="utf-8"))) if PAGE.exists() else {}
            PAGE.write_text(page({**known, name: measured}), encoding="utf-8")


if __name__ == "__main__":
    main()
