"""What the cluster is asked to have for one revision, as bodies of server-side apply.

Invariants: no body ever holds `replicas` of a Deployment, which belong to whoever scales; everything is owned by the
resource, so that deleting it takes all with it; pods run restricted, without a token of the cluster.
"""

from collections.abc import Iterator
from typing import Any, Final

from bloomweaver.controller import draining, observed, resources, services

PORT: Final = 8082
DATA: Final = "/data"
MODELS: Final = "/data/models"
USER: Final = 10001
OWNED_BY: Final = f"{resources.GROUP}/model"
REVISION: Final = f"{resources.GROUP}/revision"
SETTINGS: Final = f"{resources.GROUP}/settings"
SCHEMES: Final = {
    resources.Engine.OPENVINO: "openvino",
    resources.Engine.ONNX: "onnx",
    resources.Engine.TORCH: "sentence-transformers",
}
PRECISIONS: Final = {"Exact": "", "Int8": "?precision=int8"}
REQUESTS: Final = {"None": ("500m", "1536Mi"), "Nvidia": ("2", "8Gi")}
SERVICE_REQUESTS: Final = ("250m", "512Mi")
GPU: Final = "nvidia.com/gpu"
SCALE_DOWN_SECONDS: Final = 240
BULK_MESSAGES: Final = 20
"""SQS alone wakes only for so many: its numbers are late, and not always true of an empty queue."""
SURGE: Final = 10
STARTING_SECONDS: Final = 300

Json = dict[str, Any]


def name_of(resource: resources.EmbeddingModel, revision: resources.Revision) -> str:
    """Of the Deployment, and of everything else that there is one of for a revision."""
    return f"{resource.metadata.name}-{revision.hash}"


def objects(
    world: observed.World, revision: resources.Revision, *, scaled_by: str, drain_seconds: int
) -> Iterator[Json]:
    """Everything for one revision. scaled_by: `KEDA`, `HPA` or `None`. drain_seconds: for a pod after SIGTERM."""
    resource, setup = world.resource, world.setup
    yield _deployment(world, revision, drain_seconds=drain_seconds)
    yield _network_policy(resource, revision, setup)
    if scaled_by == "KEDA":
        sqs = resource.spec.queue.sqs
        if sqs is not None:
            yield _trigger_authentication(resource, revision, sqs)
        yield _scaled_object(world, revision)
    else:
        yield _autoscaler(resource, revision, fixed=scaled_by == "None")
    if world.capabilities.pod_monitor:
        yield _pod_monitor(resource, revision)


def _object(resource: resources.EmbeddingModel, revision: resources.Revision, api_version: str, kind: str) -> Json:
    owner = {
        "apiVersion": resources.API_VERSION,
        "kind": resources.KIND,
        "name": resource.metadata.name,
        "uid": resource.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name_of(resource, revision),
            "namespace": resource.metadata.namespace,
            "labels": _labels(resource, revision),
            "ownerReferences": [owner],
        },
    }


def _selector(resource: resources.EmbeddingModel, revision: resources.Revision) -> Json:
    return {OWNED_BY: resource.metadata.name, REVISION: revision.hash}


def _labels(resource: resources.EmbeddingModel, revision: resources.Revision) -> Json:
    return {
        "app.kubernetes.io/name": "bloomweaver",
        "app.kubernetes.io/component": "embedder",
        "app.kubernetes.io/managed-by": "bloomweaver-controller",
        **_selector(resource, revision),
    }


def _deployment(world: observed.World, revision: resources.Revision, *, drain_seconds: int) -> Json:
    resource = world.resource
    made = _object(resource, revision, "apps/v1", "Deployment")
    made["spec"] = {
        "selector": {"matchLabels": _selector(resource, revision)},
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": _labels(resource, revision)} | _digest(world.setup),
            "spec": _pod(world, revision, drain_seconds=drain_seconds),
        },
    }
    return made


def _digest(setup: observed.Setup) -> Json:
    return {"annotations": {SETTINGS: setup.settings_digest}} if setup.settings_digest else {}


def _pod(world: observed.World, revision: resources.Revision, *, drain_seconds: int) -> Json:
    setup, spec = world.setup, world.resource.spec
    made: Json = {
        "serviceAccountName": setup.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": drain_seconds + SURGE,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(world, revision, drain_seconds=drain_seconds)],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "scratch", "emptyDir": {}},
            *_weights(revision.model.source),
            *_key(revision.model.service),
        ],
    }
    labels = {label.key: label.value for label in spec.runtime.node_selector}
    tolerations = [
        {key: value for key, value in each.model_dump().items() if value} for each in spec.runtime.tolerations
    ]
    if spec.runtime.accelerator == "Nvidia":
        labels = dict(setup.gpu_node_selector) | labels
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    optional = {
        "nodeSelector": labels,
        "tolerations": tolerations,
        "imagePullSecrets": [{"name": name} for name in setup.pull_secrets],
    }
    return made | {key: value for key, value in optional.items() if value}


def _container(world: observed.World, revision: resources.Revision, *, drain_seconds: int) -> Json:
    setup, spec = world.setup, world.resource.spec
    runtime = spec.runtime
    service = revision.model.service
    torch = runtime.engine is resources.Engine.TORCH and service is None
    image = runtime.image or (setup.gpu_image if torch else setup.cpu_image)
    local = f"{SCHEMES[runtime.engine]}://{revision.model.name}{PRECISIONS[revision.model.precision]}"
    variables = {
        "BLOOMWEAVER_MODEL": local if service is None else services.url_of(revision.model, service),
        "BLOOMWEAVER_MODELS": MODELS,
        "BLOOMWEAVER_HOST": "0.0.0.0",  # noqa: S104 - a pod is probed and scraped from outside
        "BLOOMWEAVER_PORT": str(PORT),
        "BLOOMWEAVER_GRACE_SECONDS": str(drain_seconds),
        "BLOOMWEAVER_VISIBILITY_SECONDS": str(draining.visibility_seconds(drain_seconds)),
    }
    return {
        "name": "embedder",
        "image": image,
        "envFrom": [
            {"configMapRef": {"name": setup.config_map}},
            *([{"secretRef": {"name": setup.secret}}] if setup.secret else []),
        ],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": _resources(runtime, hosted=service is not None),
        "startupProbe": _probe("/healthz", period=1, failures=STARTING_SECONDS),
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=5, failures=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(revision.model),
    }


def _mounts(model: resources.Model) -> list[Json]:
    """A model's folder is mounted alone: what is recorded of it goes beside it, into a volume where a pod may write."""
    mounts: list[Json] = [{"name": "data", "mountPath": DATA}, {"name": "scratch", "mountPath": "/tmp"}]  # noqa: S108 - the pod's own
    if model.service is not None and model.service.key_secret_ref is not None:
        return [*mounts, {"name": "service-key", "mountPath": services.KEY_FOLDER, "readOnly": True}]
    if model.source.baked is not None:
        return mounts
    mount: Json = {"name": "weights", "mountPath": f"{MODELS}/{model.name}", "readOnly": True}
    if model.source.claim is not None:
        mount["subPath"] = "/".join(filter(None, (model.source.claim.sub_path, model.name)))
    return [*mounts, {"name": "models", "mountPath": MODELS}, mount]


def _probe(path: str, *, period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _resources(runtime: resources.Runtime, *, hosted: bool) -> Json:
    cpu, memory = SERVICE_REQUESTS if hosted else REQUESTS[runtime.accelerator]
    memory = runtime.resources.memory or memory
    limits = {"memory": memory}
    if runtime.accelerator == "Nvidia":
        limits[GPU] = str(runtime.resources.gpus or 1)
    return {"requests": {"cpu": runtime.resources.cpu or cpu, "memory": memory}, "limits": limits}


def _weights(source: resources.Source) -> list[Json]:
    beside: Json = {"name": "models", "emptyDir": {}}
    if source.claim is not None:
        return [
            beside,
            {"name": "weights", "persistentVolumeClaim": {"claimName": source.claim.name, "readOnly": True}},
        ]
    if source.image is not None:
        return [
            beside,
            {"name": "weights", "image": {"reference": source.image.reference, "pullPolicy": "IfNotPresent"}},
        ]
    return []


def _key(service: resources.Service | None) -> list[Json]:
    if service is None or service.key_secret_ref is None:
        return []
    reference = service.key_secret_ref
    items = [{"key": reference.key, "path": services.KEY_FILE}]
    return [{"name": "service-key", "secret": {"secretName": reference.name, "items": items, "defaultMode": 0o440}}]


def _network_policy(resource: resources.EmbeddingModel, revision: resources.Revision, setup: observed.Setup) -> Json:
    made = _object(resource, revision, "networking.k8s.io/v1", "NetworkPolicy")
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    service = revision.model.service
    ports = {*setup.egress_ports, *([] if service is None else [services.port_of(service)])}
    stores = {"ports": [{"port": port, "protocol": "TCP"} for port in sorted(ports)]}
    made["spec"] = {
        "podSelector": {"matchLabels": _selector(resource, revision)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
        "egress": [dns, stores] if setup.egress_ports else [{}],
    }
    return made


def _trigger_authentication(
    resource: resources.EmbeddingModel, revision: resources.Revision, sqs: resources.Sqs
) -> Json:
    made = _object(resource, revision, "keda.sh/v1alpha1", "TriggerAuthentication")
    made["spec"] = {"podIdentity": {"provider": "aws"} | ({"roleArn": sqs.role_arn} if sqs.role_arn else {})}
    return made


def _scaled_object(world: observed.World, revision: resources.Revision) -> Json:
    resource, scaling = world.resource, world.resource.spec.scaling
    made = _object(resource, revision, "keda.sh/v1alpha1", "ScaledObject")
    grow = [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ]
    shrink = [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": grow},
        "scaleDown": {
            # From N straight to zero is KEDA's, after the cooldown: the window has to be the shorter of the two.
            "stabilizationWindowSeconds": min(SCALE_DOWN_SECONDS, scaling.idle_after_seconds),
            "policies": shrink,
        },
    }
    made["spec"] = {
        "scaleTargetRef": {"name": name_of(resource, revision)},
        "pollingInterval": 10,
        "cooldownPeriod": scaling.idle_after_seconds,
        "initialCooldownPeriod": 60,
        "minReplicaCount": scaling.min_replicas,
        "maxReplicaCount": scaling.max_replicas,
        "fallback": {"failureThreshold": 3, "replicas": 1, "behavior": "currentReplicasIfHigher"},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        "triggers": _triggers(world, revision),
    }
    return made


def _triggers(world: observed.World, revision: resources.Revision) -> list[Json]:
    scaling, sqs = world.resource.spec.scaling, world.resource.spec.queue.sqs
    push = {
        "type": "external-push",
        "name": "wake",
        "metadata": {
            "scalerAddress": world.setup.scaler_address,
            "lane": f"change:{revision.space}",
            "targetDrainSeconds": str(scaling.target_drain_seconds),
        },
    }
    if sqs is None:
        return [push]
    bulk = {
        "type": "aws-sqs-queue",
        "name": "backlog",
        "useCachedMetrics": True,
        "authenticationRef": {"name": name_of(world.resource, revision)},
        "metadata": {
            "queueURL": sqs.queue_url,
            "awsRegion": sqs.region,
            "queueLength": str(queue_length(world, revision)),
            "activationQueueLength": str(BULK_MESSAGES),
            "scaleOnInFlight": "true",
        },
    }
    return [push, bulk]


def queue_length(world: observed.World, revision: resources.Revision) -> int:
    """Messages that one pod finishes within the time to drain, at one chunk a message until it was measured."""
    measured = world.observed.chunks_per_second(revision.space) or 1
    return max(1, measured * world.resource.spec.scaling.target_drain_seconds)


def _autoscaler(resource: resources.EmbeddingModel, revision: resources.Revision, *, fixed: bool) -> Json:
    scaling = resource.spec.scaling
    least = max(1, scaling.min_replicas)
    made = _object(resource, revision, "autoscaling/v2", "HorizontalPodAutoscaler")
    target = {"type": "Utilization", "averageUtilization": 80}
    made["spec"] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name_of(resource, revision)},
        "minReplicas": least,
        "maxReplicas": least if fixed else scaling.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return made


def _pod_monitor(resource: resources.EmbeddingModel, revision: resources.Revision) -> Json:
    made = _object(resource, revision, "monitoring.coreos.com/v1", "PodMonitor")
    made["spec"] = {
        "selector": {"matchLabels": _selector(resource, revision)},
        "podMetricsEndpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
    }
    return made
