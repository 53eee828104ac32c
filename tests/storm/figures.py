"""What a storm tells: on the terminal, and as the table of the docs."""

import datetime as dt
import os
import pathlib
import platform
from collections import Counter
from collections.abc import Sequence

from tests.storm import storm

BEGIN, END = "<!-- storm -->", "<!-- end -->"
SHOWN = 10


def told(verdict: storm.Verdict) -> str:
    """For who watches."""
    lines = [
        f"storm {verdict.plan.kind}: {verdict.acknowledged:,} events in {verdict.storm_seconds:.0f} s",
        f"  settled after: {verdict.settle_seconds:.0f} s",
        f"  kills: {_listed(verdict.kills)}",
        f"  faults: {_listed(verdict.happened)}",
        f"  ended by themselves: {_listed(verdict.ended) or 'none'}",
        f"  outcomes: {_listed(verdict.outcomes)}",
        f"  answers: {_listed(verdict.answers)}",
        f"  searches: {verdict.searches:,} with {verdict.hits:,} hits",
        f"  documents: {verdict.documents:,}, {verdict.deleted:,} deleted",
        f"  audit: {dict(verdict.audit)}",
        f"  violations: {len(verdict.violations)}",
        *(f"    {line}" for line in verdict.violations[:SHOWN]),
    ]
    return "\n".join(lines)


def write(page: pathlib.Path, verdicts: Sequence[storm.Verdict]) -> None:
    """Replace the table between the marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(verdicts)}\n\n{END}{after}", encoding="utf-8")


def table(verdicts: Sequence[storm.Verdict]) -> str:
    """One column a storm."""
    rows: list[tuple[str, list[str]]] = [
        ("events acknowledged", [f"{one.acknowledged:,}" for one in verdicts]),
        ("processes killed with -9", [f"{sum(one.kills.values()):,}" for one in verdicts]),
        ("other faults", [_listed(one.happened, without="kill -9 of a process") for one in verdicts]),
        ("documents, of them deleted", [f"{one.documents:,}, {one.deleted:,}" for one in verdicts]),
        ("searches judged, hits", [f"{one.searches:,}, {one.hits:,}" for one in verdicts]),
        ("storm, then settled after", [f"{one.storm_seconds:.0f} s, {one.settle_seconds:.0f} s" for one in verdicts]),
        ("audit: lost, extra, resurrected", [_audited(one) for one in verdicts]),
        ("differences from the model", [str(len(one.violations)) for one in verdicts]),
    ]
    heads = [f"`{one.plan.kind}`" for one in verdicts]
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows]
    day = dt.datetime.now(dt.UTC).date().isoformat()
    machine = f"{os.cpu_count()} shared cores, {platform.machine()}, Python {platform.python_version()}"
    return "\n".join([*lines, "", f"Measured on {day}: {machine}; seed {verdicts[0].plan.seed}."])


def _audited(verdict: storm.Verdict) -> str:
    return ", ".join(str(verdict.audit.get(name, "?")) for name in ("lost", "extra", "resurrected"))


def _listed(counted: "Counter[str]", *, without: str = "") -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items()) if name != without)
