"""The chart, rendered by Helm itself, as a library; nothing else imports it, so that another Helm can take its place.

`lookup` finds nothing here, and what the chart draws by lot differs from run to run, so golden renders name existing
secrets.
"""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import helm_python
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parents[2]
CHART = ROOT / "charts" / "bloomweaver"
RELEASE = NAMESPACE = "bloomweaver"
EXISTING_SECRETS = {
    "sealing": {"existingSecret": "bloomweaver-sealing-key"},
    "postgresql": {"existingSecret": "bloomweaver-postgresql-passwords"},
}
# Kinds of others, which the schemas of Kubernetes do not know.
FOREIGN_KINDS = frozenset({"HTTPRoute", "PodMonitor", "ScaledObject", "EmbeddingModel"})

Object = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):
    """What Helm says about values that it does not take, or a template that fails."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """files: what each template became, by its path in the chart. objects: all in them, the test of the release too."""

    files: Mapping[str, str]
    objects: Sequence[Object]

    @property
    def notes(self) -> str:
        """What is printed after installing."""
        return self.files["templates/NOTES.txt"].strip() + "\n"

    def of_kind(self, *kinds: str) -> list[Object]:
        """In the order of the templates."""
        return [each for each in self.objects if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Object:
        """Exactly one."""
        [found] = [each for each in self.of_kind(kind) if each["metadata"]["name"] == name]
        return found

    def manifest(self) -> str:
        """One file to apply, without the test of the release."""
        wanted = [
            text.strip("-\n ") for path, text in sorted(self.files.items()) if _applied(path) and text.strip("-\n ")
        ]
        return "---\n" + "\n---\n".join(wanted) + "\n"


def _applied(path: str) -> bool:
    return path.endswith(".yaml") and not path.startswith("templates/tests/")


def values(name: str) -> dict[str, Any]:
    """One of the chart's ci/NAME-values.yaml."""
    read: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    return read


@functools.cache
def defaults() -> dict[str, Any]:
    """values.yaml."""
    read: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return read


def render(given: Values, *, upgrade: bool = False) -> Rendered:
    """As `helm template` does; Refused with what Helm says."""
    try:
        with helm_python.Chart.load(CHART) as chart:
            chart.validate_schema(dict(given))
            files = chart.render(
                dict(given), name=RELEASE, namespace=NAMESPACE, is_install=not upgrade, is_upgrade=upgrade
            )
    except helm_python.HelmError as error:
        raise Refused(str(error)) from error
    named = {path.removeprefix("bloomweaver/"): text for path, text in sorted(files.items())}
    documents = [_parsed(text) for path, text in named.items() if path.endswith(".yaml")]
    return Rendered(named, [each for document in documents for each in document if each])


def _parsed(text: str) -> list[Object]:
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))  # the loader in C: 137 tests read 25 files each


def lint(given: Values) -> list[str]:
    """What `helm lint --strict` finds; that an icon is recommended is no finding."""
    report = helm_python.lint(CHART, dict(given), strict=True)
    found = [message["error"] for message in report["messages"] if message["severity"] > 1]
    return [*found, *report["errors"]]


def complaints(objects: Sequence[Object], *, version: str) -> list[str]:
    """What the API server of a version of Kubernetes would refuse, field names included."""
    told = (_complaint(json.dumps(each), version) for each in objects if each["kind"] not in FOREIGN_KINDS)
    return [each for each in told if each]


@functools.cache
def _complaint(text: str, version: str) -> str:
    """Kept, because most objects are the same in most renders and a look at one takes 50 ms."""
    each = json.loads(text)
    try:
        kubernetes_validate.validate(each, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{each['kind']} {each['metadata']['name']}: {error}"
    return ""


def pod_specs(objects: Sequence[Object]) -> dict[str, Object]:
    """`Kind name` to the specification of its pods."""
    found = {}
    for each in objects:
        spec = each.get("spec", {})
        pod = spec if each["kind"] == "Pod" else spec.get("template", {}).get("spec")
        if pod and "containers" in pod:
            found[f"{each['kind']} {each['metadata']['name']}"] = pod
    assert found, "a rule about no pods is kept by anything"
    return found
