from typing import Any

from bloomweaver.controller import cache, informer, manifests, observed, observing, resources

LABELS = {manifests.OWNED_BY: "minilm", manifests.REVISION: "5ace7d67"}
NAME = "minilm-5ace7d67"


def seen(*, deployment: dict[str, Any] | None = None, pod: dict[str, Any] | None = None) -> observed.Observed:
    known = cache.Cache()
    meta = {"namespace": "kb", "labels": LABELS}
    known.note("Deployment", {"metadata": {**meta, "name": NAME}, "status": deployment or {}}, gone=False)
    if pod is not None:
        known.note("Pod", {"metadata": {**meta, "name": f"{NAME}-abc"}, "status": pod}, gone=False)
    resource = resources.read(
        {
            "metadata": {"name": "minilm", "namespace": "kb", "uid": "u-1"},
            "spec": {"model": {"name": "all-minilm-l6-v2", "dimensions": 384, "maxTokens": 256}},
        }
    )
    return observing.observed_of(resource, known, collections=(), waiting={}, troubles={}, measured={})


def waiting(reason: str, message: str = "", *, restarts: int = 0) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    ended = {"terminated": {"exitCode": 78}}
    return {"containerStatuses": [{"state": state, "restartCount": restarts, "lastState": ended}]}


def test_a_deployment_is_counted():
    (workload,) = seen(deployment={"replicas": 3, "readyReplicas": 2}).workloads
    assert (workload.replicas, workload.ready) == (3, 2)


def test_a_pod_without_a_node_tells_since_when_and_why():
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": "2026-09-21T14:13:20Z",
        "message": "0/3 nodes are available.",
    }
    (workload,) = seen(pod={"phase": "Pending", "conditions": [condition]}).workloads
    assert (workload.pending_since, workload.pending_reason) == (1_790_000_000.0, "0/3 nodes are available.")


def test_a_pod_that_waits_for_a_volume_tells_since_when():
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-09-21T14:13:20Z"}
    waits = waiting("ContainerCreating") | {"phase": "Pending", "conditions": [condition]}
    (workload,) = seen(pod=waits).workloads
    assert (workload.creating_since, workload.failing, workload.pending_since) == (1_790_000_000.0, "", None)


def test_a_pod_that_keeps_ending_tells_its_code():
    (workload,) = seen(pod=waiting("CrashLoopBackOff", restarts=6)).workloads
    assert workload.failing == "CrashLoopBackOff, ended 6 times, last with code 78"


def test_a_pod_that_ended_once_is_given_time():
    (workload,) = seen(pod=waiting("CrashLoopBackOff", restarts=1)).workloads
    assert workload.failing == ""


def test_a_quota_that_lets_no_pod_in_is_told():
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute"}
    (workload,) = seen(deployment={"conditions": [condition]}).workloads
    assert workload.refused == "exceeded quota: compute"


def test_what_a_pod_names_and_is_not_there_is_told_by_kind():
    pod = waiting("CreateContainerConfigError", 'secret "bloomweaver" not found')
    pod["conditions"] = [{"type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-09-21T14:13:20Z"}]
    pod["conditions"][0]["message"] = 'persistentvolumeclaim "weights" not found'
    assert seen(pod=pod).missing == ("PersistentVolumeClaim weights", "Secret bloomweaver")


def test_a_watch_that_died_is_found_by_the_second_list_that_it_missed():
    known = cache.Cache()
    known.note(resources.KIND, {"metadata": {"namespace": "kb", "name": "a", "resourceVersion": "1"}}, gone=False)
    dog = informer.Watchdog(known)
    assert not dog.dead({"kb/a": "1"})
    assert not dog.dead({"kb/a": "2"})
    assert dog.dead({"kb/a": "2"})


def test_a_watch_that_is_only_late_is_not_dead():
    known = cache.Cache()
    dog = informer.Watchdog(known)
    assert not dog.dead({"kb/a": "1"})
    known.note(resources.KIND, {"metadata": {"namespace": "kb", "name": "a", "resourceVersion": "1"}}, gone=False)
    assert not dog.dead({"kb/a": "1"})


def test_a_watch_that_still_tells_of_others_is_slow_and_not_dead():
    known = cache.Cache()
    dog = informer.Watchdog(known)
    assert not dog.dead({"kb/minilm": "2"})
    other = {"metadata": {"name": "other", "namespace": "kb", "resourceVersion": "3"}}
    known.note(resources.KIND, other, gone=False)
    listed = {"kb/minilm": "2", "kb/other": "3"}
    assert [dog.dead(listed), dog.dead(listed)] == [False, True]
