"""How long each leg of the way from zero takes, on the cluster of KUBECONFIG; writes docs/reference/scaling.md.

    python -m tests.e2e.legs [RUNS]

What was accepted, embedded and shown is told by the ledger; what KEDA and Kubernetes did, by when a watch heard of it;
when a container began, by its process. Where the cluster is one machine, all of it is by one clock.
"""

import contextlib
import datetime as dt
import json
import os
import pathlib
import statistics
import sys
import time
from typing import Any, Final

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing

PAGE: Final = preparing.ROOT / "docs" / "reference" / "scaling.md"
BEGIN, END = "<!-- measured -->", "<!-- end -->"
COLLECTION: Final = "legs"
STARTED = (
    "import os, time; "
    "fields = open('/proc/1/stat').read().rpartition(')')[2].split(); "
    "up = float(open('/proc/uptime').read().split()[0]); "
    "print(time.time() - up + int(fields[19]) / os.sysconf('SC_CLK_TCK'))"
)
"""When process 1 of a container began, in seconds since the epoch."""
LEGS: Final = (
    ("accepted to active: the scaler's word has reached KEDA", "accepted", "active", 1.0),
    ("accepted to pod created", "accepted", "created", 3.0),
    ("pod created to container started", "created", "started", None),
    ("container started to first document embedded", "started", "embedded", 2.0),
    ("embedded to shown by search, writer from zero too", "embedded", "shown", None),
    ("accepted to shown by search", "accepted", "shown", 10.0),
    ("shown to zero pods, idle time taken off", "shown", "zero", 30.0),
)

Moments = dict[str, float]


def measured(release: installed.Release, number: int) -> Moments:
    """One document from zero and back: when each thing happened."""
    release.until_asleep()
    [embedder] = (each["metadata"]["name"] for each in release.embedders())
    path = f"/v1/collections/{COLLECTION}/documents/run-{number}"
    with release.watching() as seen:
        began = time.time()
        answer = release.call("webhook", "PUT", f"{path}?wait=searchable&timeout=60", {"text": f"Run {number}."})
        assert answer["status"] == 200, answer
        moments = timeline(release, path)
        pod = embedder_pod(release)
        moments["started"] = float(release.cluster.run(pod["metadata"]["name"], "python", "-c", STARTED))
        moments["active"] = heard(seen, "ScaledObject", since=began, name=embedder, where=active)
        moments["created"] = heard(seen, "Pod", since=began, name=pod["metadata"]["name"])
        release.until_asleep()
        moments["zero"] = time.time() - preparing.IDLE_SECONDS
    return moments


def timeline(release: installed.Release, path: str) -> Moments:
    """When the document was accepted, embedded, shown."""
    told = release.call("webhook", "GET", f"{path}/why")["body"]["timeline"]
    return {step["step"]: dt.datetime.fromisoformat(step["at"]).timestamp() for step in told}


def embedder_pod(release: installed.Release) -> installed.Object:
    """The one that runs."""
    pods = release.cluster.all("Pod", installed.EMBEDDERS)
    return min(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def active(body: installed.Object) -> bool:
    """Whether KEDA has heard that there is work."""
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == "Active" and each["status"] == "True" for each in conditions)


def heard(seen: installed.Seen, kind: str, *, since: float, name: str, where: Any = lambda _: True) -> float:
    """When the watch first told of it."""
    found = seen.first(kind, since=since, where=lambda body: body["metadata"]["name"] == name and where(body))
    assert found is not None, f"no {kind} {name} was heard of"
    return found


def table(runs: list[Moments]) -> str:
    """In Markdown."""
    lines = ["| leg | median | slowest | aim |", "| --- | --- | --- | --- |"]
    for name, begin, end, aim in LEGS:
        took = [moments[end] - moments[begin] for moments in runs]
        aimed = "" if aim is None else f"{aim:.0f} s"
        lines.append(f"| {name} | {statistics.median(took):.1f} s | {max(took):.1f} s | {aimed} |")
    return "\n".join(lines)


def write(page: pathlib.Path, runs: list[Moments]) -> None:
    """Between the marks."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    today, load = dt.datetime.now(dt.UTC).date(), os.getloadavg()[0]
    told = f"{len(runs)} runs on {today}, {os.cpu_count()} cores, load average {load:.0f}.\n\n{table(runs)}"
    page.write_text(f"{before}{BEGIN}\n{told}\n{END}{after}", encoding="utf-8")


def prepare(release: installed.Release) -> None:
    """One model and one collection."""
    release.cluster.apply(preparing.model())
    clusters.until("the model's Deployment", lambda: release.embedders() or None, state=release.told)
    release.call("webhook", "PUT", f"/v1/collections/{COLLECTION}", {})


def main(count: int) -> int:
    """Measure, print, write."""
    cluster = clusters.here(namespace=preparing.NAMESPACE)
    if cluster is None:
        print("not run: no cluster (KUBECONFIG is not set)")
        return 0
    with contextlib.closing(cluster), installed.obtained(cluster) as release:
        prepare(release)
        runs = []
        for number in range(count):
            runs.append(measured(release, number))
            taken = {key: round(value - runs[-1]["accepted"], 2) for key, value in runs[-1].items()}
            print(json.dumps(taken), flush=True)
    print(table(runs))
    write(PAGE, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
