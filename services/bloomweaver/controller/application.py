"""Controller as a process: its parts, begun together, and the one route `POST /wake`."""

import contextlib
import socket
from collections.abc import AsyncIterator

import httpx2
from starlette import applications, requests, responses, routing

from bloomweaver.controller import (
    access,
    apply,
    cache,
    external_scaler,
    informer,
    leadership,
    measurements,
    observed,
    reconciling,
    reindexing,
    scaling,
    settings,
    work_queue,
    working,
)
from bloomweaver.ports import opened
from bloomweaver.runtime import doors, health, process, stages
from bloomweaver.text import parsing

IMAGE_VOLUMES_MINOR = 35
PROBED = ("ledger", "queues", "vectors")


@contextlib.asynccontextmanager
async def running(
    wishes: settings.ControllerSettings, ports: opened.Ports, host: process.Host
) -> AsyncIterator[applications.Starlette]:
    """Everything, until the context ends."""
    entered = access.of(wishes.kubeconfig)
    board = scaling.Board(clock=ports.clock)
    looker = working.Looker(ports.healing, board)
    async with (
        httpx2.AsyncClient(verify=entered.verified()) as http,
        external_scaler.serving(board, f"{wishes.host}:{wishes.scaler_port}"),
        stages.hosted(ports, host, drain_seconds=wishes.grace_seconds) as parts,
    ):
        cluster = apply.Cluster(http, entered)
        lease = leadership.Leadership(
            cluster,
            namespace=wishes.namespace,
            name=wishes.lease,
            identity=f"{socket.gethostname()}_{ports.nonces.nonce()}",
            clock=ports.clock,
        )
        found = measurements.Measurements(ports.blobs, board, deployment=ports.deployment)
        await _begin(wishes, ports, host, parts, cluster, entered, board, lease, found)
        parts.repeat("backlog", looker.once, seconds=0)
        parts.repeat("measurements", found.read, seconds=measurements.READ_SECONDS)
        host.health.watch(probes=health.probes_of(ports), needed=("ledger",), check=parts.obstacles)
        try:
            yield _app(looker, doors.Door(host.health, host.metrics))
        finally:
            await lease.resign()


async def _begin(
    wishes: settings.ControllerSettings,
    ports: opened.Ports,
    host: process.Host,
    parts: stages.Stages,
    cluster: apply.Cluster,
    entered: access.Access,
    board: scaling.Board,
    lease: leadership.Leadership,
    found: measurements.Measurements,
) -> None:
    known, queue = cache.Cache(), work_queue.WorkQueue(clock=ports.clock)
    capabilities = await capabilities_of(cluster)
    around = reconciling.Surroundings(
        cluster=cluster,
        cache=known,
        board=board,
        reindexing=reindexing.Reindexing(ports.registry, revision=parsing.PIPELINE_REVISION),
        setup=setup_of(wishes),
        capabilities=capabilities,
        probes={part: probe for part, probe in health.probes_of(ports).items() if part in PROBED},
        clock=ports.clock,
        measured=found.found,
    )
    worker = working.Worker(
        queue,
        reconciling.Reconciler(around),
        leads=lambda: lease.leads,
        metrics=host.metrics,
        seconds=ports.clock.monotonic,
    )
    kinds = _kinds(capabilities)
    watches = informer.Informer(entered, known, namespace=wishes.namespace, kinds=kinds, on_change=queue.add)
    parts.repeat("lease", working.lead(lease), seconds=leadership.RENEW_SECONDS)
    parts.repeat("informer", working.until_told(watches.run, host.ending.set), seconds=1)
    watched = working.watch(cluster, known, namespace=wishes.namespace, die=host.die)
    parts.repeat("watchdog", watched, seconds=working.WATCHED_SECONDS)
    parts.repeat("resync", working.resync(queue, known), seconds=working.RESYNC_SECONDS)
    for number in range(working.WORKERS):
        parts.repeat(f"reconcile-{number}", worker.once, seconds=0)


def _kinds(capabilities: observed.Capabilities) -> tuple[informer.Kind, ...]:
    kinds = informer.OWNED + (informer.KEDA if capabilities.keda else ())
    return kinds + (informer.MONITORS if capabilities.pod_monitor else ())


async def capabilities_of(cluster: apply.Cluster) -> observed.Capabilities:
    """What the cluster offers; asked once, at the start."""
    return observed.Capabilities(
        keda=await cluster.serves("keda.sh/v1alpha1", "scaledobjects"),
        pod_monitor=await cluster.serves("monitoring.coreos.com/v1", "podmonitors"),
        image_volumes=await cluster.minor() >= IMAGE_VOLUMES_MINOR,
    )


def setup_of(wishes: settings.ControllerSettings) -> observed.Setup:
    """What every plan has to know of the settings."""
    labels = [label.partition("=") for label in wishes.gpu_node_labels]
    return observed.Setup(
        cpu_image=wishes.cpu_image,
        gpu_image=wishes.gpu_image,
        config_map=wishes.pod_config_map,
        settings_digest=wishes.pod_settings_digest,
        secret=wishes.pod_secret,
        scaler_address=wishes.scaler_address,
        service_account=wishes.pod_service_account,
        pull_secrets=wishes.pull_secrets,
        egress_ports=wishes.egress_ports,
        gpu_node_selector=tuple((key, value) for key, _, value in labels),
    )


def _app(looker: working.Looker, door: doors.Door) -> applications.Starlette:
    async def wake(_: requests.Request) -> responses.Response:
        looker.wake()
        return responses.Response(status_code=202)

    routes = [routing.Route("/wake", wake, methods=["POST"]), routing.Mount("/", app=door)]
    return applications.Starlette(routes=routes)
