"""Starts of the command line: `--help`, a search against a running server, and `try` over what is already indexed."""

import asyncio
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import uvloop

from benchmarks import loading, report, serving

ROUNDS = 9
ROOT = pathlib.Path(__file__).parents[1]


def seconds_of(arguments: list[str], environment: dict[str, str], *, count: int) -> list[float]:
    """From the start of the process to its end, sorted; the first one, which warms caches, left out."""
    took = []
    for _ in range(count + 1):
        began = time.perf_counter()
        subprocess.run([*serving.COMMAND, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return sorted(took[1:])


def first_hit_seconds(folder: pathlib.Path, data: pathlib.Path) -> float:
    """From the start of `try` to the line with its first hit."""
    command = [*serving.COMMAND, "try", str(folder), "--data", str(data)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        found = None
        for line in process.stdout:
            if found is None and "first hit" in line:
                found = time.perf_counter() - began
        if process.wait() != 0 or found is None:
            raise RuntimeError(f"try ended with {process.returncode}, first hit: {found}")
    return found


def hits_of(folder: pathlib.Path, data: pathlib.Path, *, count: int) -> list[float]:
    """The first `try`, which indexes, and then so many."""
    command = [*serving.COMMAND, "try", str(folder), "--data", str(data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return sorted(first_hit_seconds(folder, data) for _ in range(count))


def row(measure: str, took: list[float], target: float) -> report.Row:
    """Best of the rounds, since others use the machine; the median stands in the note."""
    note = f"best of {len(took)}; median {statistics.median(took):.2f} s"
    return report.at_most(measure, min(took), target, form="{:.2f}", unit=" s", note=note)


async def measure(*, quick: bool) -> list[report.Row]:
    """Three rows."""
    count = 2 if quick else ROUNDS
    loop = asyncio.get_running_loop()
    rows = [row("`bloomweaver --help`", seconds_of(["--help"], dict(os.environ), count=count), 0.4)]
    async with serving.running() as server:
        await loading.send(server, [("a", "text/plain", "Leave is twenty days a year.")])
        await loading.until_searchable(server)
        search = ["search", "how many days of leave"]
        took = await loop.run_in_executor(None, lambda: seconds_of(search, server.environment, count=count))
        rows.append(row("`bloomweaver search` against a running server", took, 0.6))
    with tempfile.TemporaryDirectory(prefix="bloomweaver-") as place:
        folder, data = pathlib.Path(place) / "notes", pathlib.Path(place) / "data"
        folder.mkdir()
        for number, path in enumerate(sorted((ROOT / "docs" / "concepts").glob("*.md"))[:3]):
            (folder / f"{number}.md").write_bytes(path.read_bytes())
        hits = await loop.run_in_executor(None, lambda: hits_of(folder, data, count=1 if quick else 5))
        rows.append(row("`bloomweaver try`: process start to the first hit of what is there", hits, 1.5))
    return rows


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
