"""Settings of controller as a process."""

import pydantic

from bloomweaver.runtime import settings


class ControllerSettings(settings.ProcessSettings):
    """One acts at a time; a second one waits for its Lease."""

    port: int = settings.port_field(8085)
    namespace: str = pydantic.Field(default="default", description="Namespace of the resources, and of what they own.")
    kubeconfig: str | None = pydantic.Field(
        default=None, description="How the cluster is reached from outside; not set means from inside, as a pod."
    )
    lease: str = pydantic.Field(
        default="bloomweaver-controller", description="Lease that the acting controller holds, in its namespace."
    )
    scaler_port: int = pydantic.Field(
        default=9090, ge=0, le=65535, description="Port on which KEDA asks how much waits (gRPC)."
    )
    scaler_address: str = pydantic.Field(
        default="bloomweaver-controller:9090", description="HOST:PORT by which KEDA reaches that port."
    )
    cpu_image: str = pydantic.Field(description="Image of embedder pods that run on processors.")
    gpu_image: str = pydantic.Field(description="Image of embedder pods with engine Torch.")
    pod_config_map: str = pydantic.Field(
        default="bloomweaver", description="ConfigMap with the variables of embedder pods: store, queues, vectors."
    )
    pod_settings_digest: str = pydantic.Field(
        default="", description="Digest of that ConfigMap's variables: pods are replaced when it changes."
    )
    pod_secret: str = pydantic.Field(
        default="", description="Secret with their secret variables; empty means that there are none."
    )
    pod_service_account: str = pydantic.Field(default="default", description="Service account of embedder pods.")
    pull_secrets: tuple[str, ...] = pydantic.Field(default=(), description="Secrets that images are pulled with.")
    egress_ports: tuple[int, ...] = pydantic.Field(
        default=(), description="TCP ports that embedder pods may connect to, beside DNS; none means any."
    )
    gpu_node_labels: tuple[str, ...] = pydantic.Field(
        default=(), description="Labels KEY=VALUE of the nodes with GPUs."
    )

    @pydantic.field_validator("gpu_node_labels")
    @classmethod
    def _pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("=" not in label for label in value):
            raise ValueError("each has to be KEY=VALUE")
        return value
