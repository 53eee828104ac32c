"""Hints by SQS instead of PostgreSQL: an upgrade of the release, and a queue server that forgets everything."""

import pytest

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing, telling

COLLECTION = "by-sqs"
PORT = 5000
ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def make_server(cluster: clusters.Cluster) -> None:
    """One pod behind a Service; it keeps everything in memory."""
    labels = {"app": "queue"}
    meta = {"name": "queue", "namespace": cluster.namespace, "labels": labels}
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "queue",
                "image": preparing.own_image("queue"),
                "securityContext": restricted,
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 2},
            }
        ],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    ports = [{"port": PORT, "targetPort": PORT}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": ports}}
    cluster.apply(service)
    clusters.until("the queue server", lambda: server(cluster), state=lambda: telling.told(cluster))


def server(cluster: clusters.Cluster, *, other_than: str = "") -> str | None:
    """The name of its pod, once that is ready."""
    pods = [pod for pod in cluster.all("Pod", "app=queue") if telling.ready(pod)]
    return next((pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] != other_than), None)


def values() -> installed.Object:
    """The same release, with its queues elsewhere."""
    made = preparing.values(stores={"queues": f"sqs://eu-central-1/bloom?endpoint=http://queue:{PORT}"})
    for component in ("webhook", "search", "reconciler", "writer", "controller"):
        made[component]["env"] = [{"name": name, "value": value} for name, value in ACCESS.items()]
    made["controller"]["podVariables"] = ACCESS
    return made


def queues(release: installed.Release) -> list[str]:
    """The names of what the server has."""
    data = f"http://queue:{PORT}/moto-api/data.json"  # of all regions and accounts
    script = f"import httpx2, re; print(*sorted(set(re.findall('bloom_[a-z0-9_]+', httpx2.get('{data}').text))))"
    return release.inside("python", "-c", script).split()


def put(release: installed.Release, name: str, text: str) -> None:
    """A document, searchable at the end."""
    path = f"/v1/collections/{COLLECTION}/documents/{name}"
    assert release.call("webhook", "PUT", path, {"text": text})["status"] == 202

    def searchable() -> bool | None:
        return release.call("webhook", "GET", path)["body"]["state"] == "searchable" or None

    clusters.until(f"{name} searchable", searchable, state=release.told)
    assert release.search(text, COLLECTION)[0]["document_id"] == name


@pytest.mark.timeout(900)
def test_an_upgrade_moves_the_queues_to_sqs_and_pods_wake_from_zero(release: installed.Release):
    release.until_asleep()
    make_server(release.cluster)
    installed.upgrade(release.cluster, values())
    assert release.call("webhook", "PUT", f"/v1/collections/{COLLECTION}", {})["status"] == 201
    put(release, "first", "A hint went by a queue that speaks SQS.")
    there = queues(release)
    assert {"bloom_create"} <= set(there)
    assert any(name.startswith("bloom_change__") for name in there)
    release.until_asleep()
    print(f"by SQS: {', '.join(sorted(there))}")


@pytest.mark.timeout(900)
def test_a_queue_server_that_forgets_everything_loses_nothing(release: installed.Release):
    name = server(release.cluster)
    assert name is not None
    for number in range(10):
        path = f"/v1/collections/{COLLECTION}/documents/forgotten-{number}"
        assert release.call("webhook", "PUT", path, {"text": f"Hint {number} is forgotten."})["status"] == 202
        if number == 5:
            release.cluster.delete("Pod", name, grace_seconds=0)
            clusters.until("another queue server", lambda: server(release.cluster, other_than=name))
    put(release, "last", "This came after the server had forgotten.")
    audit = clusters.until(
        "nothing on its way",
        lambda: found if not (found := release.audit())["pending"] else None,
        state=release.told,
    )
    assert (audit["lost"], audit["extra"], audit["resurrected"]) == (0, 0, 0), audit
    release.until_asleep()


def test_afterwards_the_hints_are_in_the_store_again(release: installed.Release):
    installed.upgrade(release.cluster, preparing.values())
    put(release, "back", "This hint went by PostgreSQL again.")
    release.until_asleep()
    for kind in ("Deployment", "Service"):
        release.cluster.delete(kind, "queue")
