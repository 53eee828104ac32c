"""Uninstalled, nothing is left but what the policy keeps: the store's volume, the drawn secrets, the definition."""

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing

KEPT = {
    ("Secret", f"{preparing.RELEASE}-postgresql"),
    ("Secret", f"{preparing.RELEASE}-sealing"),
    ("PersistentVolumeClaim", f"data-{preparing.RELEASE}-postgresql-0"),
}
OWN = {("Pod", preparing.CLIENT), ("ServiceAccount", "default"), ("PersistentVolumeClaim", preparing.MODELS)}


def left(cluster: clusters.Cluster) -> set[tuple[str, str]]:
    """Everything in the namespace, but events and what a cluster puts into each."""
    kinds = [kind for kind in clusters.KINDS if kind not in {"Event", "ConfigMap"}]
    found = {(kind, each["metadata"]["name"]) for kind in kinds for each in cluster.all(kind)}
    own_maps = {"kube-root-ca.crt"}
    maps = {each["metadata"]["name"] for each in cluster.all("ConfigMap")} - own_maps
    return found | {("ConfigMap", name) for name in maps if not name.startswith("e2e-")}


def test_uninstalling_leaves_nothing_but_what_the_policy_keeps(release: installed.Release):
    release.cluster.delete("EmbeddingModel", "minilm")
    with installed.helm(release.cluster) as config:
        config.uninstall(preparing.RELEASE, wait="watcher", timeout=installed.HELM_SECONDS)
    remaining = clusters.until(
        "nothing left",
        lambda: ((found := left(release.cluster) - OWN) <= KEPT and found) or None,
        state=lambda: left(release.cluster) - OWN - KEPT,
    )
    assert remaining == KEPT
    assert release.cluster.exists("apis/bloomweaver.dev/v1alpha1")
    print(f"left: {', '.join(sorted(name for _, name in remaining))}, and the definition")
