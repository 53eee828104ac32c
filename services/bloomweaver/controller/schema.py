"""k8s/crds/embeddingmodel.yaml out of the types: `python -m bloomweaver.controller.schema` prints it.

A structural schema knows no references, no null and no titles, and its defaults stand at every level; pydantic's has
all of these, so what it says is put into that form here. Rules in CEL ride along with the types.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

import yaml

from bloomweaver.controller import resources

NAME: Final = f"{resources.PLURAL}.{resources.GROUP}"
CONDITIONS: Final = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
NAME_RULE: Final = {
    "rule": "size(self.metadata.name) <= 40",
    "message": "the name is at most 40 characters: Deployments and their pods are named after it",
}
KEPT: Final = frozenset({
    "type", "description", "enum", "pattern", "format", "required", "default", "minimum", "maximum", "minLength",
    "maxLength", "maxItems", "x-kubernetes-validations",
})  # fmt: skip

_COLUMNS: Final = (
    ("Model", "string", ".spec.model.name", 0),
    ("Dim", "integer", ".spec.model.dimensions", 0),
    ("Active", "string", ".status.activeRevision.hash", 0),
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status", 0),
    ("Reason", "string", ".status.conditions[?(@.type=='Ready')].reason", 0),
    ("Replicas", "integer", ".status.replicas", 0),
    ("Reindex", "integer", ".status.reindex.percent", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Candidate", "string", ".status.candidateRevision.hash", 1),
    ("Accelerator", "string", ".spec.runtime.accelerator", 1),
    ("CPS", "integer", ".status.chunksPerSecond", 1),
)

Json = dict[str, Any]


def definition() -> Json:
    """The whole definition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": resources.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resources.KIND,
                "listKind": f"{resources.KIND}List",
                "plural": resources.PLURAL,
                "singular": resources.KIND.lower(),
                "shortNames": ["em"],
                "categories": ["bloomweaver"],
            },
            "versions": [_version()],
        },
    }


def spec_schema() -> Json:
    """The structural schema of `spec`."""
    return _structural(resources.Spec)


def rendered() -> str:
    """As it lies in k8s/crds."""
    head = "# Made from services/bloomweaver/controller/resources.py by `make crds`; edit that instead.\n"
    return head + yaml.safe_dump(definition(), sort_keys=False, width=120, allow_unicode=True)


def _version() -> Json:
    status = _structural(resources.Status)
    status["properties"]["conditions"] |= CONDITIONS
    columns = [
        {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
        for name, kind, path, priority in _COLUMNS
    ]
    return {
        "name": resources.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "selectableFields": [{"jsonPath": ".spec.model.name"}],
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {
                "description": "An embedding model, the pods that run it, and the collections that are kept in it.",
                "type": "object",
                "required": ["spec"],
                "x-kubernetes-validations": [NAME_RULE],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": spec_schema(),
                    "status": status,
                },
            }
        },
    }


def _structural(kind: type[resources.Part]) -> Json:
    made = kind.model_json_schema(by_alias=True)
    return _plain(made, made.get("$defs", {}))


def _plain(node: Json, definitions: Mapping[str, Json]) -> Json:
    """One node: references inlined, `X | None` as X, titles and what else is unknown to the API server left out."""
    node = _inlined(node, definitions)
    plain = {key: value for key, value in node.items() if key in KEPT}
    if "default" in plain:
        plain["default"] = _without_null(plain["default"])
    if plain.get("default", 0) is None:
        del plain["default"]
    if "const" in node:
        plain |= {"type": "string", "enum": [node["const"]]}
    if "properties" in node:
        plain["properties"] = {name: _plain(part, definitions) for name, part in node["properties"].items()}
    if "items" in node:
        plain["items"] = _plain(node["items"], definitions)
        plain["x-kubernetes-list-type"] = "atomic"
    return plain


def _inlined(node: Json, definitions: Mapping[str, Json]) -> Json:
    if "anyOf" in node:
        (real,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        node = {**real, **{key: value for key, value in node.items() if key != "anyOf"}}
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(part) for key, part in value.items() if part is not None}
    return value


if __name__ == "__main__":
    sys.stdout.write(rendered())
