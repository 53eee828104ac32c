"""Histories of the simulator per second and core, each with all faults and all invariants checked."""

import asyncio
import json
import pathlib
import sys
import tempfile

import uvloop

from benchmarks import report

SECONDS = 60


async def measure(*, quick: bool) -> list[report.Row]:
    """On one core; 0 of them may break a promise."""
    with tempfile.TemporaryDirectory() as folder:
        figures = pathlib.Path(folder) / "figures.json"
        seconds = str(SECONDS // 10 if quick else SECONDS)
        arguments = ["--seconds", seconds, "--jobs", "1", "--json", str(figures)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.simulation.run", *arguments, stdout=asyncio.subprocess.DEVNULL
        )
        await process.wait()
        found = json.loads(figures.read_text(encoding="utf-8"))
    return rows(found)


def rows(found: dict[str, float]) -> list[report.Row]:
    """The simulator's own figures."""
    rate, histories, broken = found["histories_per_second_and_core"], found["histories"], found["violations"]
    return [
        report.Row("simulated histories per second and core", f"{rate:.1f}", note="by processor time"),
        report.at_most(f"of {histories:,.0f} histories, those that broke a promise", broken, 0),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
