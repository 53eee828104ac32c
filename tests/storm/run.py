"""`python -m tests.storm.run`: the long storms, one of each kind, and their figures. `make storm` runs it."""

import argparse
import asyncio
import pathlib
import sys
import tempfile

from tests.storm import figures, storm
from tests.support.servers import processes

KINDS = ("postgresql", "servers")


def main() -> int:
    """0 where nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm.run", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="in all")
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seconds", type=float, default=900.0, help="over which the events are spread, at least")
    parser.add_argument("--fault-seconds", type=float, default=60.0, help="how long a fault lasts")
    parser.add_argument("--documents", type=int, default=3000, help="of each kind of storm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    parser.add_argument("--write", type=pathlib.Path, help="the page whose figures are replaced")
    given = parser.parse_args()
    kinds = given.kind or KINDS
    verdicts = []
    for kind in kinds:
        plan = storm.Plan(
            kind=kind, events=given.events // len(kinds), kills=given.kills // len(kinds), seed=given.seed,
            seconds=given.seconds / len(kinds), fault_seconds=given.fault_seconds, documents=given.documents,
            settle_seconds=300.0,
        )  # fmt: skip
        try:
            with tempfile.TemporaryDirectory(prefix="bloomweaver-storm-", ignore_cleanup_errors=True) as folder:
                verdict = asyncio.run(storm.storm(plan, pathlib.Path(folder)))
        except processes.Absent as absent:
            print(f"not run: {absent}")
            continue
        verdicts.append(verdict)
        print(figures.told(verdict), flush=True)
    if given.write and verdicts:
        figures.write(given.write, verdicts)
    return int(not verdicts or any(verdict.violations for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
