import pathlib
from typing import Any

import pydantic
import pytest
import yaml

from bloomweaver.controller import resources, schema
from bloomweaver.domain import models
from tests.support import crds

ROOT = pathlib.Path(__file__).parents[3]
SCHEMA = schema.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SAMPLES = sorted((ROOT / "k8s" / "samples").glob("*.yaml"))


def resource(spec: str, *, name: str = "minilm") -> dict[str, Any]:
    """A good resource, changed by `a.b: value` lines; `-a.b` takes a field away."""
    made: dict[str, Any] = {
        "apiVersion": resources.API_VERSION,
        "kind": resources.KIND,
        "metadata": {"name": name, "namespace": "kb", "uid": "u-1"},
        "spec": {"model": {"name": "all-minilm-l6-v2", "dimensions": 384, "maxTokens": 256}},
    }
    for line in filter(None, (line.strip() for line in spec.split(";"))):
        path, _, value = line.partition(":")
        *parents, last = path.lstrip("-").split(".")
        place = made["spec"]
        for parent in parents:
            place = place.setdefault(parent, {})
        if path.startswith("-"):
            del place[last]
        else:
            place[last] = yaml.safe_load(value)
    return made


def complaints(body: dict[str, Any]) -> list[str]:
    return crds.complaints(
        SCHEMA | {"properties": SCHEMA["properties"] | {"metadata": {}}}, crds.defaulted(SCHEMA, body)
    )


GOOD = [
    "",
    "model.name: own; model.space: 0123456789abcdef",
    "model.source: {claim: {name: weights, subPath: models}}",
    "model.source: {image: {reference: 'registry/weights@sha256:00'}}",
    "chunking: {maxTokens: 128, overlapTokens: 64}",
    "runtime: {engine: Torch, accelerator: Nvidia, resources: {gpus: 1, memory: 8Gi}}",
    "runtime: {engine: ONNX, nodeSelector: [{key: pool, value: cpu}], tolerations: [{key: dedicated}]}",
    "scaling: {minReplicas: 2, maxReplicas: 2}",
    "scaling: {driver: HPA, minReplicas: 1}",
    "scaling: {driver: None}",
    "queue: {provider: SQS}",
    "queue: {provider: SQS, sqs: {queueUrl: 'https://sqs.eu-central-1.amazonaws.com/1/q', region: eu-central-1}}",
    "rollout: {strategy: Manual, begin: 0a234567, promotion: Manual, promote: 89abcdef}",
    "rollout: {pin: 89abcdef, gate: {maxFailedPercent: 1}, keepPreviousSeconds: 0}",
    "suspend: true",
    "model.name: a; model.service: {engine: HTTP, model: m, endpoint: 'https://h/v1', keySecretRef: {name: s, key: k}}",
    "model.name: own; model.space: 0123456789abcdef; model.precision: Int8",
    "model.name: nomic; model.service: {engine: Ollama, model: nomic-embed-text, endpoint: 'http://ollama:11434'}",
    "model.name: titan; model.service: {engine: Bedrock, model: 'amazon.titan-embed-text-v2:0', region: eu-central-1}",
]

SERVICE = "model.name: small; model.service: "

BAD = [
    ("-model.name", ".spec.model: name is required"),
    ("-model.dimensions", ".spec.model: dimensions is required"),
    ("model.dimensions: 0", ".spec.model.dimensions: is out of range"),
    ("model.dimensions: '384'", ".spec.model.dimensions: is no integer"),
    ("model.dimension: 384", ".spec.model: unknown field dimension"),
    ("model.name: Big Model", ".spec.model.name: has another form"),
    ("model.name: own", "needs its space"),
    ("model.space: xyz", ".spec.model.space: has another form"),
    ("model.source: {}", "exactly one of baked, claim and image"),
    ("model.source: {baked: {}, claim: {name: weights}}", "exactly one of baked, claim and image"),
    ("model.source: {image: {reference: 'registry/weights:latest'}}", "needs a digest"),
    ("model.source: {huggingFace: {}}", ".spec.model.source: unknown field huggingFace"),
    ("chunking: {maxTokens: 128, overlapTokens: 65}", "at most half of maxTokens"),
    ("chunking: {maxTokens: 257}", "chunking.maxTokens is at most model.maxTokens"),
    ("model.precision: Float16", ".spec.model.precision: is none of Exact, Int8"),
    ("model.precision: Int8", "is for a model of your own, with its space"),
    (
        "model.name: own; model.space: 0123456789abcdef; model.precision: Int8; runtime: {engine: ONNX}",
        "Int8 needs engine: OpenVINO",
    ),
    ("runtime: {engine: TEI}", ".spec.runtime.engine: is none of OpenVINO, ONNX, Torch"),
    ("runtime: {resources: {gpus: 1}}", "resources.gpus needs accelerator: Nvidia"),
    ("runtime: {accelerator: Nvidia}", "accelerator: Nvidia needs engine: Torch"),
    ("runtime: {resources: {memory: a lot}}", ".spec.runtime.resources.memory: has another form"),
    ("scaling: {minReplicas: 6}", "minReplicas is at most maxReplicas"),
    ("scaling: {driver: HPA}", "HPA cannot scale to zero"),
    ("scaling: {driver: ScaledJob}", ".spec.scaling.driver: is none of"),
    ("scaling: {idleAfterSeconds: 0}", ".spec.scaling.idleAfterSeconds: is out of range"),
    ("queue: {sqs: {queueUrl: 'https://h/1/q', region: r}}", "queue.sqs needs provider: SQS"),
    ("queue: {provider: SQS, sqs: {queueUrl: bare-name, region: r}}", ".spec.queue.sqs.queueUrl: has another form"),
    ("rollout: {promote: 01abcdef, pin: 89abcdef}", "give promote or pin, not both"),
    ("rollout: {pin: bge-small}", ".spec.rollout.pin: has another"),
    ("suspend: later", ".spec.suspend: is no boolean"),
    (f"{SERVICE}{{engine: HTTP, model: m}}", "engines HTTP and Ollama need endpoint"),
    (f"{SERVICE}{{engine: Bedrock, model: m}}", "engine Bedrock needs region"),
    (f"{SERVICE}{{engine: OpenAI, model: m}}", ".spec.model.service.engine: is none of HTTP, Ollama, Bedrock"),
    (f"{SERVICE}{{engine: HTTP, model: m, endpoint: 'https://key@h/v1'}}", "endpoint: has another form"),
    (
        f"{SERVICE}{{engine: Bedrock, model: m, region: r, keySecretRef: {{name: s, key: k}}}}",
        "takes its credentials from the pod's service account",
    ),
    (
        f"{SERVICE}{{engine: Ollama, model: m, endpoint: 'http://o'}}; model.source: {{claim: {{name: w}}}}",
        "a model with a service has no source of weights",
    ),
    (
        f"{SERVICE}{{engine: Ollama, model: m, endpoint: 'http://o'}}; runtime: {{engine: Torch, accelerator: Nvidia}}",
        "because a service elsewhere runs the model",
    ),
]


@pytest.mark.parametrize("spec", GOOD)
def test_a_good_resource_is_let_through_and_read(spec: str):
    body = resource(spec)
    assert complaints(body) == []
    resources.read(body)


@pytest.mark.parametrize(("spec", "complaint"), BAD)
def test_a_bad_resource_is_refused_with_the_field_and_what_to_do(spec: str, complaint: str):
    assert any(complaint in found for found in complaints(resource(spec)))


def test_a_name_too_long_for_what_is_named_after_it_is_refused():
    assert complaints(resource("", name="m" * 40)) == []
    assert any("at most 40" in found for found in complaints(resource("", name="m" * 41)))


def test_defaults_of_the_schema_are_those_of_the_types():
    body = resource("")
    by_server = resources.read(crds.defaulted(SCHEMA, body))
    assert by_server == resources.read(body)
    scaling = by_server.spec.scaling
    assert (scaling.min_replicas, scaling.max_replicas, scaling.idle_after_seconds) == (0, 5, 300)


def test_the_definition_in_k8s_is_that_of_the_types():
    stored = (ROOT / "k8s" / "crds" / "embeddingmodel.yaml").read_text(encoding="utf-8")
    assert stored == schema.rendered(), "run `make crds`"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_let_through(path: pathlib.Path):
    assert complaints(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_models_that_come_with_the_project_are_those_that_need_no_space():
    rule, *_ = schema.spec_schema()["properties"]["model"]["x-kubernetes-validations"]
    assert [name for name in models.PROVIDED if f"'{name}'" not in rule["rule"]] == []


def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    below = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
    return [node, *(deeper for part in below for deeper in nodes(part))]


def test_every_string_and_list_of_the_spec_has_a_bound_so_that_the_cost_of_rules_has_one():
    assert [
        node
        for node in nodes(schema.spec_schema())
        if (node["type"] == "string" and "enum" not in node and "maxLength" not in node)
        or (node["type"] == "array" and "maxItems" not in node)
    ] == []


def test_a_resource_of_an_unknown_form_is_told_by_field():
    with pytest.raises(pydantic.ValidationError, match=r"spec\.model\.dimensions"):
        resources.read(resource("model.dimensions: many"))
