"""`python -m tests.storm.run`: the long storms, one of each kind, and their figures. `make storm` runs it."""

import argparse
import asyncio
import pathlib
import shutil
import sys
import tempfile

from tests.storm import figures, storm
from tests.support.servers import processes

# Of the events, the kills and the time: the fake of Pinecone looks at every vector, and vectors outlive their versions.
SHARES = {"postgresql": (0.7, 0.6, 0.6), "servers": (0.2, 0.3, 0.3), "queues": (0.1, 0.1, 0.1)}
SETTLE_SECONDS = 1200.0


def main() -> int:
    """0 where nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm.run", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="in all")
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seconds", type=float, default=1080.0, help="over which the events are spread, at least")
    parser.add_argument("--fault-seconds", type=float, default=60.0, help="how long a fault lasts")
    parser.add_argument("--documents", type=int, default=3000, help="of each kind of storm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=tuple(SHARES), action="append", help="only this kind")
    parser.add_argument("--write", type=pathlib.Path, help="the page whose figures are replaced")
    given = parser.parse_args()
    kinds = given.kind or list(SHARES)
    verdicts = []
    for kind in kinds:
        events, kills, seconds = SHARES[kind] if len(kinds) > 1 else (1.0, 1.0, 1.0)
        plan = storm.Plan(
            kind=kind, events=round(given.events * events), kills=round(given.kills * kills), seed=given.seed,
            seconds=given.seconds * seconds, fault_seconds=given.fault_seconds, documents=given.documents,
            settle_seconds=SETTLE_SECONDS,
        )  # fmt: skip
        folder = pathlib.Path(tempfile.mkdtemp(prefix="bloomweaver-storm-"))
        try:
            verdict = asyncio.run(storm.storm(plan, folder))
        except processes.Absent as absent:
            print(f"not run: {absent}")
            continue
        if verdict.violations:
            print(f"the logs of the processes are in {folder}")
        else:
            shutil.rmtree(folder)
        verdicts.append(verdict)
        print(figures.told(verdict), flush=True)
    if given.write and verdicts:
        figures.write(given.write, verdicts)
    return int(not verdicts or any(verdict.violations for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
