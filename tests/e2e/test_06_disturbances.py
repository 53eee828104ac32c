"""What happens to a cluster in its life: a rollout, a drain, a store and a scaler that are away for a while."""

import contextlib
import datetime as dt
from collections.abc import Iterator

import pytest

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing, telling

KEDA_NAMESPACE, KEDA = "keda", "keda-operator"
STORE = f"{preparing.RELEASE}-postgresql-0"


def clean(found: installed.Object) -> bool:
    """Whether a load found everything as it was promised."""
    audit = found["audit"]
    return not found["wrong"] and not any(audit[key] for key in ("lost", "extra", "resurrected", "pending"))


def restart(cluster: clusters.Cluster, deployment: str) -> None:
    """As `kubectl rollout restart`, and wait for its end."""
    at = dt.datetime.now(dt.UTC).isoformat()
    annotations = {"kubectl.kubernetes.io/restartedAt": at}
    change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    generation = cluster.patch("Deployment", deployment, change)["metadata"]["generation"]

    def rolled() -> bool | None:
        body = cluster.there("Deployment", deployment)
        status, wanted = body["status"], body["spec"]["replicas"]
        numbers = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        return (status["observedGeneration"] >= generation and numbers == [wanted] * 3) or None

    clusters.until(f"{deployment} rolled", rolled, state=lambda: telling.told(cluster))


@contextlib.contextmanager
def keda_away(cluster: clusters.Cluster) -> Iterator[None]:
    """KEDA has no pod while the context lasts."""
    with contextlib.closing(clusters.Cluster(cluster.kubeconfig, namespace=KEDA_NAMESPACE)) as keda:
        replicas = keda.there("Deployment", KEDA)["spec"]["replicas"]
        keda.patch("Deployment", KEDA, {"spec": {"replicas": 0}})
        try:
            clusters.until("KEDA gone", lambda: not keda.there("Deployment", KEDA)["status"].get("replicas") or None)
            yield
        finally:
            keda.patch("Deployment", KEDA, {"spec": {"replicas": replicas}})


@pytest.mark.timeout(900)
def test_webhook_is_rolled_under_load_without_a_failed_request(release: installed.Release):
    with release.loaded("rolled") as load:
        for _ in range(2):
            restart(release.cluster, f"{preparing.RELEASE}-webhook")
            load.progress(more=20)
    print(f"webhook rolled twice; clients: {load.summary}")
    assert load.summary["refused"] == {}
    assert clean(load.settled())


@pytest.mark.timeout(900)
def test_a_node_is_drained_and_uncordoned_and_everything_comes_back(release: installed.Release):
    node = release.cluster.there("Pod", preparing.CLIENT)["spec"]["nodeName"]
    with release.loaded("drained") as load:
        release.cluster.cordon(node, cordoned=True)
        try:
            pods = release.cluster.all("Pod", installed.OURS)
            movable = [pod["metadata"] for pod in pods if pod["status"].get("phase") == "Running"]
            movable = [meta for meta in movable if meta["labels"]["app.kubernetes.io/component"] != "postgresql"]
            held = [meta["name"] for meta in movable if not release.cluster.evict(meta["name"])]
            # The node is the only one: the budgets keep a pod each of what serves, and so clients are served on.
            load.progress(more=20)
        finally:
            release.cluster.cordon(node, cordoned=False)
        release.until_ready()
    found = load.settled()
    print(f"drained: {len(movable) - len(held)} pods left, budgets kept {held}; clients: {load.summary}")
    assert [name for name in held if "webhook" in name], "no budget kept a webhook"
    assert clean(found), found


@pytest.mark.timeout(900)
def test_the_store_is_restarted_under_load_and_nothing_is_lost(release: installed.Release):
    with release.loaded("restarted") as load:
        uid = release.cluster.there("Pod", STORE)["metadata"]["uid"]
        release.cluster.delete("Pod", STORE)

        def back() -> bool | None:
            pod = release.cluster.get("Pod", STORE)
            return (pod is not None and pod["metadata"]["uid"] != uid and telling.ready(pod)) or None

        clusters.until("PostgreSQL back", back, state=release.told)
        load.progress(more=20)
    found = load.settled()
    print(f"PostgreSQL restarted; clients: {load.summary}")
    assert clean(found), found


@pytest.mark.timeout(900)
def test_while_keda_is_away_nothing_is_lost_and_it_wakes_pods_when_it_is_back(release: installed.Release):
    release.until_asleep()
    path = "/v1/collections/handbook/documents/while-keda-was-away"
    with keda_away(release.cluster):
        put = release.call("webhook", "PUT", path, {"text": "It was accepted while nobody could wake a pod."})
        assert put["status"] == 202, put
        assert release.asleep()

    def searchable() -> bool | None:
        return release.call("webhook", "GET", path)["body"]["state"] == "searchable" or None

    clusters.until("what was accepted meanwhile searchable", searchable, state=release.told)
    release.until_asleep()
