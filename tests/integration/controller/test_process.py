"""The parts of a controller together, against a mock of the Kubernetes API and a ledger in a file."""

import asyncio
import pathlib

import httpx2
import kmock
import prometheus_client

from bloomweaver.adapters import opening
from bloomweaver.controller import access, application, apply, resources, settings
from bloomweaver.runtime import doors, health, metrics, process, tracing
from tests.support import kubernetes_api, running

RESOURCE_INFO = kmock.ResourceInfo
SECONDS = 200


def offer(kmock: kmock.KubernetesEmulator) -> None:
    """What a controller looks for."""
    verbs = {"list", "watch", "get", "create", "update", "patch"}
    kmock.resources["v1/namespaces"] = RESOURCE_INFO(kind="Namespace", namespaced=False, verbs=verbs)
    kmock.resources["v1/pods"] = RESOURCE_INFO(kind="Pod", namespaced=True, verbs=verbs)
    kmock.resources["apps/v1/deployments"] = RESOURCE_INFO(kind="Deployment", namespaced=True, verbs=verbs)
    kmock.resources[f"{resources.API_VERSION}/{resources.PLURAL}"] = RESOURCE_INFO(
        kind=resources.KIND, namespaced=True, verbs=verbs
    )
    kmock.resources["coordination.k8s.io/v1/leases"] = RESOURCE_INFO(kind="Lease", namespaced=True, verbs=verbs)


async def test_a_controller_starts_takes_its_lease_and_is_ready(
    kmock: kmock.KubernetesEmulator, tmp_path: pathlib.Path
):
    offer(kmock)
    wishes = settings.ControllerSettings(
        store=f"sqlite:///{tmp_path}/ledger.db",
        kubeconfig=kubernetes_api.kubeconfig(tmp_path, str(kmock.url)),
        namespace="kb",
        scaler_port=0,
        cpu_image="cpu",
        gpu_image="gpu",
    )
    clock, nonces = opening.system_clock(), opening.system_nonces()
    recorder = metrics.Metrics(prometheus_client.CollectorRegistry(), version="0")
    with tracing.opened_tracer("controller", version="0", variables={}) as tracer:
        host = process.Host(recorder, health.Health(clock=clock), tracer, clock)
        async with (
            opening.open_ports(wishes, clock=clock, nonces=nonces, recorder=recorder) as ports,
            application.running(wishes, ports, host) as app,
            httpx2.AsyncClient() as http,
            asyncio.timeout(SECONDS),
        ):
            cluster = apply.Cluster(http, access.of(wishes.kubeconfig))
            lease = None
            while lease is None:  # the mock gives no versions, so the second renewal is out of its reach
                await asyncio.sleep(0.05)
                lease = await cluster.get("Lease", namespace="kb", name=wishes.lease)
            assert (await host.health.report()).obstacles == ()
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://controller") as client:
                answers = {path: (await client.get(path)).status_code for path in doors.PATHS}
                assert answers == dict.fromkeys(doors.PATHS, 200)
                assert (await client.post("/wake")).status_code == 202
                assert (await client.get("/elsewhere")).status_code == 404
    assert not host.dead


async def test_a_controller_that_watches_ends_as_asked(kmock: kmock.KubernetesEmulator, tmp_path: pathlib.Path):
    offer(kmock)
    extra = {
        "BLOOMWEAVER_KUBECONFIG": kubernetes_api.kubeconfig(tmp_path, str(kmock.url)),
        "BLOOMWEAVER_NAMESPACE": "kb",
        "BLOOMWEAVER_SCALER_PORT": "0",
        "BLOOMWEAVER_CPU_IMAGE": "cpu",
        "BLOOMWEAVER_GPU_IMAGE": "gpu",
    }
    with running.Services(tmp_path, store=f"sqlite:///{tmp_path}/ledger.db", extra=extra) as made:
        service = made.start("controller")
        await running.eventually(lambda: watched(kmock))
        assert await asyncio.to_thread(service.end) == 0
        assert service.events()[-1] == "ended"


async def watched(kmock: kmock.KubernetesEmulator) -> bool:
    """Whether somebody waits for changes of the resource, so everything else of the informer stands as well."""
    return any(resources.PLURAL in str(request.url) and "watch" in request.params for request in kmock)
