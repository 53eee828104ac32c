"""What the planner is told: the resource, what the cluster and the ledger have, and how the controller is set up.

Plain values, so that a test writes them down and a golden file shows them.
"""

from dataclasses import dataclass, field

from bloomweaver.controller import resources
from bloomweaver.domain.documents import Generation
from bloomweaver.domain.identity import TenantId
from bloomweaver.domain.measured import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How the controller itself was set up.

    config_map, secret: name what all pods are set up by, as variables. settings_digest: of the former's content, so
    that pods are replaced when it changes. scaler_address: HOST:PORT of the push scaler.
    egress_ports: TCP ports that pods may connect to, beside DNS; none means any.
    """

    cpu_image: str
    gpu_image: str
    config_map: str
    secret: str
    scaler_address: str
    settings_digest: str = ""
    service_account: str = "default"
    pull_secrets: tuple[str, ...] = ()
    egress_ports: tuple[int, ...] = ()
    gpu_node_selector: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the cluster offers."""

    keda: bool = True
    pod_monitor: bool = False
    image_volumes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment of the resource, and what its pods say.

    pending_since: of the oldest pod without a node. creating_since: of the oldest with one whose containers cannot be
    made. failing, refused: why pods end, or were not made at all.
    """

    name: str
    replicas: int = 0
    ready: int = 0
    pending_since: float | None = None
    pending_reason: str = ""
    creating_since: float | None = None
    failing: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """How far a building pipeline is."""

    total: int
    ready: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A collection and the pipelines that it is kept in. gate: of the building one."""

    tenant: TenantId
    name: str
    generation: Generation
    gate: Counted | None = None


@dataclass(frozen=True, slots=True)
class Owned:
    """An object that belongs to the resource."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything outside the resource.

    waiting: documents by vector space. measured: what pods found of themselves, by vector space. rivals: older
    resources that claim a space of this one. missing: what the resource names and is not there. troubles: why a store
    cannot be used, by `ledger`, `queues` or `vectors`.
    """

    workloads: tuple[Workload, ...] = ()
    owned: tuple[Owned, ...] = ()
    collections: tuple[Kept, ...] = ()
    waiting: dict[str, int] = field(default_factory=dict)
    rivals: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    troubles: dict[str, str] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)

    def chunks_per_second(self, space: str) -> int:
        """Of one pod; 0 while nobody knows."""
        found = self.measured.get(space)
        return 0 if found is None else found.chunks_per_second

    def workload(self, name: str) -> Workload:
        """The Deployment of that name; an empty one where there is none yet."""
        return next((each for each in self.workloads if each.name == name), Workload(name=name))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that a plan depends on. now: seconds since the epoch."""

    resource: resources.EmbeddingModel
    observed: Observed
    setup: Setup
    capabilities: Capabilities
    now: float
