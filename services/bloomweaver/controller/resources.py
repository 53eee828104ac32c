"""The resource `EmbeddingModel` as types: what `kubectl apply` may say, and what the controller answers.

Invariant: k8s/crds/embeddingmodel.yaml is made from these types (`python -m bloomweaver.controller.schema`), a test
compares them, so that what the API server lets through is what the controller can read. A field that nothing acts on
does not stand here.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import alias_generators

GROUP: Final = "bloomweaver.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "EmbeddingModel"
PLURAL: Final = "embeddingmodels"
API_VERSION: Final = f"{GROUP}/{VERSION}"

HASH: Final = r"^([0-9a-f]{8})?$"
NAME: Final = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


class Engine(StrEnum):
    """What runs the model; each has an adapter."""

    OPENVINO = "OpenVINO"
    ONNX = "ONNX"
    TORCH = "Torch"


def _rule(rule: str, message: str) -> dict[str, Any]:
    return {"rule": rule, "message": message}


def rules(*made: dict[str, Any]) -> pydantic.ConfigDict:
    """The configuration of a part with rules in CEL, checked by the API server."""
    return pydantic.ConfigDict(json_schema_extra={"x-kubernetes-validations": list(made)})


class Part(pydantic.BaseModel):
    """A part of the resource: camelCase outside, frozen inside."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, alias_generator=alias_generators.to_camel
    )


class Baked(Part):
    """The weights lie in the image of the embedder."""


class Claim(Part):
    """The weights lie on a volume."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=253, description="PersistentVolumeClaim to mount.")]
    sub_path: Annotated[
        str, pydantic.Field(max_length=253, description="Folder on it; the model is the folder of its name there.")
    ] = ""


class ImageVolume(Part):
    """The weights are an image of their own, mounted as a volume. Needs Kubernetes 1.35."""

    reference: Annotated[
        str, pydantic.Field(min_length=1, max_length=500, description="Image with a digest: registry/name@sha256:….")
    ]


class Source(Part):
    """Where the weights are. Exactly one; nothing is fetched from a hub when a pod starts."""

    model_config = rules(
        _rule(
            "[has(self.baked), has(self.claim), has(self.image)].filter(x, x).size() == 1",
            "give exactly one of baked, claim and image",
        ),
        _rule(
            "!has(self.image) || self.image.reference.contains('@sha256:')",
            "image.reference needs a digest, e.g. registry/weights@sha256:…",
        ),
    )
    baked: Baked | None = None
    claim: Claim | None = None
    image: ImageVolume | None = None


class SecretKey(Part):
    """A key of a Secret in the resource's namespace."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=253)]
    key: Annotated[str, pydantic.Field(min_length=1, max_length=253)]


class Service(Part):
    """Who runs the model, where that is elsewhere; engine, model and revision name its space."""

    model_config = rules(
        _rule("self.engine == 'Bedrock' || self.endpoint != ''", "engines HTTP and Ollama need endpoint"),
        _rule("self.engine != 'Bedrock' || self.region != ''", "engine Bedrock needs region"),
        _rule(
            "self.engine != 'Bedrock' || !has(self.keySecretRef)",
            "engine Bedrock takes its credentials from the pod's service account, not from keySecretRef",
        ),
    )
    engine: Literal["HTTP", "Ollama", "Bedrock"]
    model: Annotated[str, pydantic.Field(min_length=1, max_length=200, description="Its name there.")]
    endpoint: Annotated[
        str,
        pydantic.Field(
            max_length=500,
            pattern=r"^(https?://[^@?#\s]+)?$",
            description="HTTP: what stands before /embeddings, e.g. https://host/v1. Ollama: the server.",
        ),
    ] = ""
    region: Annotated[str, pydantic.Field(max_length=40, pattern=r"^[a-z0-9-]*$", description="Of Bedrock.")] = ""
    revision: Annotated[
        str,
        pydantic.Field(
            min_length=1, max_length=40, description="Another one says that other weights answer by the same name."
        ),
    ] = "1"
    query_prefix: Annotated[str, pydantic.Field(max_length=500, description="Put before queries.")] = ""
    document_prefix: Annotated[str, pydantic.Field(max_length=500, description="Put before documents.")] = ""
    asks_dimension: Annotated[
        bool, pydantic.Field(description="HTTP: vectors of model.dimensions are asked for, of models that can be.")
    ] = False
    key_secret_ref: SecretKey | None = None


Precision = Annotated[Literal["Exact", "Int8"], pydantic.Field(description="Int8: made by `models build`, proven.")]


class Model(Part):
    """Which model. name and space are its identity: another one is a new revision and begins a re-index."""

    model_config = rules(
        _rule(
            "self.name in ['all-minilm-l6-v2', 'bge-small-en-v1.5'] || self.space != '' || has(self.service)",
            "a model that does not come with BloomWeaver needs its space: docs/reference/embeddingmodel.md",
        ),
        _rule(
            "!has(self.service) || !has(self.source) || has(self.source.baked)",
            "a model with a service has no source of weights",
        ),
        _rule(
            "self.precision != 'Int8' || (self.space != '' && !has(self.service))",
            "precision: Int8 is for a model of your own, with its space: docs/howto/own-model.md",
        ),
    )
    name: Annotated[
        str, pydantic.Field(min_length=1, max_length=200, description="Its name, as collections name it.", pattern=NAME)
    ]
    space: Annotated[
        str,
        pydantic.Field(
            pattern=r"^([0-9a-f]{16})?$",
            max_length=16,
            description="Vector space, 16 hex digits; empty for a model that comes with BloomWeaver.",
        ),
    ] = ""
    dimensions: Annotated[int, pydantic.Field(ge=1, le=8192, description="Numbers in a vector; checked.")]
    max_tokens: Annotated[
        int, pydantic.Field(ge=16, le=131072, description="Tokens of a document that it reads at most; checked.")
    ]
    precision: Precision = "Exact"
    # No default that the API server would write down: beside it another source, applied later, would be a second one.
    source: Annotated[Source, pydantic.Field(default_factory=lambda: Source(baked=Baked()))]
    service: Service | None = None


class Chunking(Part):
    """How collections are cut when a re-index begins. Not given: each collection keeps its own."""

    model_config = rules(
        _rule("self.overlapTokens * 2 <= self.maxTokens", "overlapTokens is at most half of maxTokens")
    )
    max_tokens: Annotated[int, pydantic.Field(ge=1, le=131072, description="Tokens of a chunk.")]
    overlap_tokens: Annotated[int, pydantic.Field(ge=0, le=65536, description="Tokens that two chunks share.")] = 0


Quantity = Annotated[str, pydantic.Field(max_length=30, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]


class Resources(Part):
    """Requests and limits of a pod; what is not given is the default of the accelerator."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    gpus: Annotated[int, pydantic.Field(ge=1, le=16, description="nvidia.com/gpu of each pod.")] | None = None


class Toleration(Part):
    """A taint that the pods accept."""

    key: Annotated[str, pydantic.Field(max_length=316)] = ""
    operator: Literal["Exists", "Equal"] = "Exists"
    value: Annotated[str, pydantic.Field(max_length=63)] = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class NodeLabel(Part):
    """A label that a node has to have."""

    key: Annotated[str, pydantic.Field(min_length=1, max_length=316)]
    value: Annotated[str, pydantic.Field(max_length=63)] = ""


class Runtime(Part):
    """What runs the model and where; a change of it is an ordinary rollout of the Deployment."""

    model_config = rules(
        _rule(
            "self.accelerator != 'None' || !has(self.resources.gpus)",
            "resources.gpus needs accelerator: Nvidia",
        ),
        _rule("self.accelerator != 'Nvidia' || self.engine == 'Torch'", "accelerator: Nvidia needs engine: Torch"),
    )
    engine: Engine = Engine.OPENVINO
    accelerator: Literal["None", "Nvidia"] = "None"
    image: Annotated[str, pydantic.Field(max_length=500, description="Empty: the controller's for the engine.")] = ""
    resources: Resources = Resources()
    node_selector: Annotated[list[NodeLabel], pydantic.Field(max_length=16)] = []
    tolerations: Annotated[list[Toleration], pydantic.Field(max_length=16)] = []


class Scaling(Part):
    """From zero at the first message and back. `None` keeps minReplicas, and at least one."""

    model_config = rules(
        _rule("self.minReplicas <= self.maxReplicas", "minReplicas is at most maxReplicas"),
        _rule("self.driver != 'HPA' || self.minReplicas >= 1", "driver: HPA cannot scale to zero, set minReplicas"),
    )
    driver: Literal["KEDA", "HPA", "None"] = "KEDA"
    min_replicas: Annotated[int, pydantic.Field(ge=0, le=1000)] = 0
    max_replicas: Annotated[int, pydantic.Field(ge=1, le=1000)] = 5
    idle_after_seconds: Annotated[
        int, pydantic.Field(ge=10, le=86400, description="Without messages for so long, back to minReplicas.")
    ] = 300
    target_drain_seconds: Annotated[
        int, pydantic.Field(ge=5, le=86400, description="As many pods as finish what waits within this time.")
    ] = 120
    drain_seconds: Annotated[
        int, pydantic.Field(ge=5, le=3600, description="What a pod has after SIGTERM at least; more if it needs more.")
    ] = 25


class Sqs(Part):
    """The change queue of the model's space, for a second trigger that sizes by what SQS counts."""

    queue_url: Annotated[str, pydantic.Field(max_length=500, pattern=r"^https?://[^/]+/[0-9]+/[A-Za-z0-9_.-]+$")]
    region: Annotated[str, pydantic.Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$")]
    role_arn: Annotated[str, pydantic.Field(max_length=200, description="Role that KEDA assumes; empty: its own.")] = ""


class Queue(Part):
    """What carries the hints. Queues themselves are made by the services, from BLOOMWEAVER_QUEUES."""

    model_config = rules(
        _rule("self.provider == 'SQS' || !has(self.sqs)", "queue.sqs needs provider: SQS"),
    )
    provider: Literal["PostgreSQL", "SQS"] = "PostgreSQL"
    sqs: Sqs | None = None


class Gate(Part):
    """What a re-index has to reach before it is promoted by itself."""

    max_failed_percent: Annotated[
        int, pydantic.Field(ge=0, le=100, description="Failed documents, in percent, that promotion may leave behind.")
    ] = 0


class Rollout(Part):
    """How collections follow a change of the model."""

    model_config = rules(
        _rule("self.promote == '' || self.pin == ''", "give promote or pin, not both"),
    )
    strategy: Literal["BlueGreen", "Manual"] = "BlueGreen"
    begin: Annotated[
        str,
        pydantic.Field(pattern=HASH, max_length=8, description="Strategy Manual: the revision that may be built."),
    ] = ""
    promotion: Literal["Automatic", "Manual"] = "Automatic"
    promote: Annotated[
        str,
        pydantic.Field(pattern=HASH, max_length=8, description="Promotion Manual: the revision to promote."),
    ] = ""
    pin: Annotated[
        str,
        pydantic.Field(pattern=HASH, max_length=8, description="Serve this revision instead: a rollback."),
    ] = ""
    gate: Gate = Gate()
    keep_previous_seconds: Annotated[
        int, pydantic.Field(ge=0, le=2592000, description="The earlier index stays current for so long.")
    ] = 86400


class Spec(Part):
    """What is wished."""

    model_config = rules(
        _rule(
            "!has(self.chunking) || self.chunking.maxTokens <= self.model.maxTokens",
            "chunking.maxTokens is at most model.maxTokens",
        ),
        _rule(
            "!has(self.model.service) || self.runtime.accelerator == 'None'",
            "runtime.accelerator: None, because a service elsewhere runs the model",
        ),
        _rule("self.model.precision != 'Int8' || self.runtime.engine == 'OpenVINO'", "Int8 needs engine: OpenVINO"),
    )
    model: Model
    chunking: Chunking | None = None
    runtime: Runtime = Runtime()
    scaling: Scaling = Scaling()
    queue: Queue = Queue()
    rollout: Rollout = Rollout()
    suspend: Annotated[bool, pydantic.Field(description="No pods; what is sent waits in the ledger.")] = False


class Answer(Part):
    """A part of the status. What a later release wrote is read over, not refused."""

    model_config = pydantic.ConfigDict(extra="ignore")


class Revision(Answer):
    """A model that collections are, or were, kept in."""

    hash: str
    model: Model
    space: str
    since: str = ""
    collections: int = 0


class Reindex(Answer):
    """All re-indexes of the resource's collections, added up."""

    collections: int = 0
    total: int = 0
    done: int = 0
    failed: int = 0
    percent: int = 0


class Condition(Answer):
    """As everywhere in Kubernetes."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


class Status(Answer):
    """What is. Written when it changes; what changes by the second is in the metrics."""

    observed_generation: int = 0
    active_revision: Revision | None = None
    candidate_revision: Revision | None = None
    previous_revision: Revision | None = None
    reindex: Reindex | None = None
    chunks_per_second: Annotated[int, pydantic.Field(description="Of one pod, as measured by itself.")] = 0
    drain_seconds: Annotated[
        int, pydantic.Field(description="What a pod has after SIGTERM, by how long its work was measured to take.")
    ] = 0
    replicas: int = 0
    ready_replicas: int = 0
    conditions: list[Condition] = []


class Metadata(Answer):
    """What the controller reads of the resource's metadata."""

    model_config = pydantic.ConfigDict(extra="ignore")
    name: str
    namespace: str
    uid: str
    generation: int = 1
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class EmbeddingModel(Answer):
    """The resource as the API server gives it."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()


def read(body: dict[str, Any]) -> EmbeddingModel:
    """The resource, checked."""
    return EmbeddingModel.model_validate(body)
