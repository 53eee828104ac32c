"""Measure, and write docs/reference/benchmarks.md: `python -m benchmarks.run [NAME…] [--quick]`.

What has a row in the table gives rows; the benchmarks of single parts print lines, which stand below it as they are.
With names only those run and the page is left alone; so is it with `--quick`, whose figures are for trying the scripts.
Nothing here is a test: a figure that misses its target is written down, not an error.
"""

import argparse
import asyncio
import importlib
import pathlib
import subprocess
import sys
import time

import uvloop

from benchmarks import report

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
TABLE = ("accepts", "pipeline", "edit", "deletes", "freshness", "startup", "memory", "simulation")
PARTS = ("ledger", "queues", "vectors", "embedding", "splitting")

INTRODUCTION = """# Benchmarks

Written by `make bench`, which runs every script of `benchmarks/`; what each one does stands at its head. Figures are of
one machine and of one day; a target that is not met on it says so. Best rounds are given where the machine was shared
with other work, beside the rounds that they are the best of.
"""


async def table_rows(names: list[str], *, quick: bool) -> list[report.Row]:
    """The rows of these benchmarks, one after the other."""
    rows: list[report.Row] = []
    for name in names:
        began = time.perf_counter()
        print(f"{name} …", flush=True)
        found = await importlib.import_module(f"benchmarks.{name}").measure(quick=quick)
        print(report.table(found), f"\n{name}: {time.perf_counter() - began:.0f} s\n", flush=True)
        rows += found
        await asyncio.sleep(1.0)
    return rows


def printed(name: str) -> str:
    """What a benchmark of a part prints."""
    print(f"{name} …", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, flush=True)
    return done.stdout.rstrip()


def page(machine: list[tuple[str, str]], rows: list[report.Row], parts: dict[str, str]) -> str:
    """The reference page."""
    about = "\n".join(["| machine | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine)])
    blocks = "\n\n".join(f"### {name}\n\n```text\n{text}\n```" for name, text in parts.items())
    return f"{INTRODUCTION}\n{about}\n\n## The whole\n\n{report.table(rows)}\n\n## The parts\n\n{blocks}\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*TABLE, *PARTS))}; all unless given")
    parser.add_argument("--quick", action="store_true", help="a tenth of it or less: to see that the scripts work")
    options = parser.parse_args()
    unknown = set(options.names) - {*TABLE, *PARTS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    machine = report.machine()
    names = options.names or [*TABLE, *(() if options.quick else PARTS)]
    rows = uvloop.run(table_rows([name for name in names if name in TABLE], quick=options.quick))
    parts = {name: printed(name) for name in names if name in PARTS}
    if not options.names and not options.quick:
        PAGE.write_text(page(machine, rows, parts), encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
