"""Resources, cluster and ledger in memory: what is sent, and what is not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bloomweaver.adapters import opening
from bloomweaver.controller import (
    access,
    apply,
    cache,
    leadership,
    observed,
    reconciling,
    reindexing,
    resources,
    revisions,
    scaling,
)
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import clocks
from tests.support import kubernetes_api

KEY = "kb/minilm"
HASH = revisions.of(
    resources.Model.model_validate({"name": "all-minilm-l6-v2", "dimensions": 384, "maxTokens": 256})
).hash
SETUP = observed.Setup(cpu_image="cpu", gpu_image="gpu", config_map="bw", secret="", scaler_address="c:9090")


def body(name: str = "minilm", *, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    model = {"name": "all-minilm-l6-v2", "dimensions": 384, "maxTokens": 256}
    meta = {"name": name, "namespace": "kb", "uid": f"u-{name}", "generation": 1, "creationTimestamp": created}
    return {"metadata": meta, "spec": {"model": model, **spec}}


class Bench:
    """A controller; `told` is the informer, that sees everything at once."""

    def __init__(self, database: opening.Database, clock: clocks.ManualClock) -> None:
        self.api = kubernetes_api.KubernetesApi()
        self.cache = cache.Cache()
        self.clock = clock
        self.trouble: errors.BloomWeaverError | None = None
        self.reconciler = reconciling.Reconciler(
            reconciling.Surroundings(
                cluster=self.api.cluster(),
                cache=self.cache,
                board=scaling.Board(clock=clock),
                reindexing=reindexing.Reindexing(database.registry, revision="1"),
                setup=SETUP,
                capabilities=observed.Capabilities(),
                probes={"ledger": self._probe},
                clock=clock,
            )
        )

    async def _probe(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def put(self, made: dict[str, Any]) -> None:
        self.api.objects[resources.KIND, cache.key_of(made)] = made
        self.told()

    def told(self) -> None:
        for (kind, _), made in self.api.objects.items():
            if kind != "Event":
                self.cache.note(kind, made, gone=False)

    async def look(self, key: str = KEY) -> list[str]:
        """What one look writes."""
        self.api.requests.clear()
        self.clock.advance(10)
        await self.reconciler.look(key)
        self.told()
        return self.api.writes

    def condition(self, kind: str, key: str = KEY) -> tuple[str, str]:
        status = self.api.objects[resources.KIND, key]["status"]
        return next((each["status"], each["reason"]) for each in status["conditions"] if each["type"] == kind)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = clocks.ManualClock()
    async with opening.open_database("mem://", clock=clock, nonces=opening.system_nonces()) as database:
        yield Bench(database, clock)


async def test_a_new_resource_is_brought_into_being_and_says_that_it_is_ready(bench: Bench):
    bench.put(body())
    assert await bench.look() == [
        "POST deployments",
        f"PATCH minilm-{HASH}",
        f"PATCH minilm-{HASH}",
        f"PATCH minilm-{HASH}",
        "PATCH status",
        "POST events",
    ]
    assert bench.condition("Ready") == ("True", "Idle")
    assert bench.api.objects["Deployment", f"kb/minilm-{HASH}"]["spec"]["replicas"] == 0


async def test_a_look_that_finds_no_difference_sends_nothing_at_all(bench: Bench):
    bench.put(body())
    await bench.look()
    await bench.look()
    assert bench.api.requests == []


async def test_what_somebody_changed_by_hand_is_put_right(bench: Bench):
    bench.put(body())
    await bench.look()
    bench.api.objects["Deployment", f"kb/minilm-{HASH}"]["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    bench.told()
    assert await bench.look() == [f"PATCH minilm-{HASH}"]


async def test_the_number_of_pods_is_left_to_who_scales(bench: Bench):
    bench.put(body())
    await bench.look()
    bench.api.objects["Deployment", f"kb/minilm-{HASH}"]["spec"]["replicas"] = 5
    bench.told()
    assert await bench.look() == []


async def test_suspending_takes_the_pods_away(bench: Bench):
    bench.put(body())
    await bench.look()
    bench.put(bench.api.objects[resources.KIND, KEY] | {"spec": body(suspend=True)["spec"]})
    writes = await bench.look()
    assert [write for write in writes if write.startswith("DELETE")] == [f"DELETE minilm-{HASH}"] * 3
    assert bench.condition("Ready") == ("False", "Suspended")


async def test_of_two_resources_with_one_model_the_older_has_it(bench: Bench):
    bench.put(body())
    bench.put(body("second", created="2026-02-01T00:00:00Z"))
    await bench.look()
    assert await bench.look("kb/second") == ["PATCH status", "POST events"]
    assert bench.condition("Ready", "kb/second") == ("False", "Conflict")
    assert bench.condition("Ready") == ("True", "Idle")


async def test_a_store_that_is_away_is_said_and_nothing_else_is_done(bench: Bench):
    bench.put(body())
    bench.trouble = errors.TransientError(Reason.LEDGER_UNAVAILABLE, "away")
    assert await bench.look() == ["PATCH status", "POST events"]
    assert bench.condition("Ready") == ("Unknown", "StoreUnavailable")


async def test_what_the_api_refuses_is_said_on_the_resource(bench: Bench):
    bench.put(body())
    path = f"/apis/keda.sh/v1alpha1/namespaces/kb/scaledobjects/minilm-{HASH}"
    bench.api.answers["PATCH", path] = (403, "scaledobjects is forbidden")
    with pytest.raises(apply.Refused, match="403 scaledobjects is forbidden"):
        await bench.look()
    assert bench.condition("Degraded") == ("True", "ApplyRefused")


async def test_a_resource_that_is_gone_is_not_looked_at_again(bench: Bench):
    assert await bench.reconciler.look(KEY) is None


async def test_a_token_is_read_again_when_its_file_has_changed(tmp_path):
    file = tmp_path / "token"
    api = kubernetes_api.KubernetesApi()
    cluster = api.cluster(access.Access("http://api", token_path=file))
    for token in ("one", "two"):
        file.write_text(token + "\n")
        await cluster.get("Lease", namespace="kb", name="lease")
    assert api.tokens == ["Bearer one", "Bearer two"]


async def test_an_api_that_is_away_is_no_refusal():
    api = kubernetes_api.KubernetesApi()
    api.answers["GET", "/apis/coordination.k8s.io/v1/namespaces/kb/leases/lease"] = (503, "etcd is away")
    with pytest.raises(errors.TransientError):
        await api.cluster().get("Lease", namespace="kb", name="lease")


def leader(api: kubernetes_api.KubernetesApi, identity: str, clock: clocks.ManualClock) -> leadership.Leadership:
    return leadership.Leadership(api.cluster(), namespace="kb", name="lease", identity=identity, clock=clock)


async def test_one_controller_leads_until_it_is_gone_for_a_lease():
    api, clock = kubernetes_api.KubernetesApi(), clocks.ManualClock()
    first, second = leader(api, "first", clock), leader(api, "second", clock)
    assert [await first.renew(), await second.renew()] == [True, False]
    clock.advance(leadership.GIVEN_UP_SECONDS)
    assert not first.leads, "it stops before another may begin"
    assert not await second.renew()
    clock.advance(leadership.LEASE_SECONDS)
    assert await second.renew()
    assert not await first.renew()


async def test_a_leader_that_resigns_is_followed_at_once():
    api, clock = kubernetes_api.KubernetesApi(), clocks.ManualClock()
    first, second = leader(api, "first", clock), leader(api, "second", clock)
    await first.renew()
    await first.resign()
    assert await second.renew()
    assert not first.leads
