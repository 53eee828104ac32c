"""From nothing to a release that works, and to its first model, which is ready without a pod."""

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing, telling


def test_the_release_is_installed_and_every_pod_is_ready(release: installed.Release):
    # A writer may come and go: KEDA's fallback wakes one of each while the controller starts.
    pods = release.cluster.all("Pod", f"{installed.OURS},app.kubernetes.io/component notin (migrations, writer)")
    assert [pod["metadata"]["name"] for pod in pods if not telling.ready(pod)] == []
    components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}
    assert {"postgresql", "webhook", "search", "reconciler", "controller"} <= components
    print(f"ready: {len(pods)} pods of {', '.join(sorted(components))}")


def test_a_model_of_the_documentation_is_ready_without_a_pod(release: installed.Release):
    release.cluster.apply(preparing.model())
    ready = clusters.until(
        "the model idle",
        lambda: ((found := release.condition("minilm")).get("reason") == "Idle" and found) or None,
        state=release.told,
    )
    assert ready["status"] == "True", ready
    release.until_asleep()
    [deployment] = release.embedders()
    assert release.cluster.get("ScaledObject", deployment["metadata"]["name"]) is not None
    print(f"EmbeddingModel minilm: {ready['reason']}, {ready['message']}")


def test_the_release_tests_itself_from_zero(release: installed.Release):
    with installed.helm(release.cluster) as config:
        told = config.test(preparing.RELEASE, timeout=installed.HELM_SECONDS, logs=True)
    assert "refunds.md" in told["logs"], told["logs"]
    release.until_asleep()
