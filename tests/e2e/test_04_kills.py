"""Pods are killed at random under load, and nothing that was acknowledged is lost."""

import os
import random
import time

import pytest

from tests.e2e import cluster as clusters
from tests.e2e import installed

KILLS = int(os.environ.get("BLOOMWEAVER_E2E_KILLS", "20"))
"""How many pods are killed; `make e2e-storm` sets 100."""


def victims(release: installed.Release) -> list[installed.Object]:
    """Every pod of the release but the store, and the embedders."""
    pods = [*release.cluster.all("Pod", installed.OURS), *release.cluster.all("Pod", installed.EMBEDDERS)]
    spared = {"postgresql", "migrations", "test"}
    return [
        pod
        for pod in pods
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] not in spared
        and pod["status"].get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    ]


@pytest.mark.timeout(3600)
def test_pods_killed_at_random_lose_nothing(release: installed.Release):
    dice, killed = random.Random(5), dict[str, int]()
    began = time.monotonic()
    with release.loaded("storm") as load:
        for _ in range(KILLS):
            pod = clusters.until("a pod to kill", lambda: victims(release) or None, state=release.told)
            victim = dice.choice(pod)
            component = victim["metadata"]["labels"]["app.kubernetes.io/component"]
            release.cluster.delete("Pod", victim["metadata"]["name"], grace_seconds=0)
            killed[component] = killed.get(component, 0) + 1
            load.progress(more=5)
    found = load.settled()
    print(f"{KILLS} pods killed {killed} within {time.monotonic() - began:.0f} s; clients: {load.summary}; {found}")
    assert found["wrong"] == []
    audit = found["audit"]
    assert (audit["lost"], audit["extra"], audit["resurrected"], audit["pending"]) == (0, 0, 0, 0), audit
    assert found["documents"] >= 20
