import dataclasses
import pathlib
from typing import Any

import pydantic
import pytest
import yaml

from bloomweaver.controller import conditions, observed, planning
from tests.support import golden

FOLDER = pathlib.Path(__file__).parents[2] / "golden" / "controller"
CASES = sorted(path.name.removesuffix(".input.yaml") for path in FOLDER.glob("*.input.yaml"))
SETUP = {
    "cpu_image": "registry/embedder:1",
    "gpu_image": "registry/embedder-torch:1",
    "config_map": "bloomweaver",
    "secret": "bloomweaver",
    "scaler_address": "bloomweaver-controller.kb:9090",
}
NOW = 1_790_000_000.0


def world(case: dict[str, Any]) -> observed.World:
    return pydantic.TypeAdapter(observed.World).validate_python(
        {
            "resource": case["resource"],
            "observed": case.get("observed", {}),
            "setup": SETUP | case.get("setup", {}),
            "capabilities": case.get("capabilities", {}),
            "now": NOW,
        }
    )


def loaded(name: str) -> dict[str, Any]:
    made = yaml.safe_load((FOLDER / f"{name}.input.yaml").read_text(encoding="utf-8"))
    assert isinstance(made, dict)
    return made


def shown(plan: planning.Plan, *, whole: bool) -> dict[str, Any]:
    """The plan as a golden file has it; bodies only where the case is about them."""
    names = [f"{each.body['kind']}/{each.body['metadata']['name']}" for each in plan.objects]
    return {
        "objects": [dataclasses.asdict(each) for each in plan.objects] if whole else names,
        "deletions": [f"{each.kind}/{each.name}" for each in plan.deletions],
        "actions": [{type(each).__name__: dataclasses.asdict(each)} for each in plan.actions],
        "status": plan.status.model_dump(mode="json", by_alias=True, exclude_none=True),
        "events": [dataclasses.asdict(each) for each in plan.events],
        "requeue_seconds": plan.requeue_seconds,
    }


@pytest.mark.parametrize("name", CASES)
def test_a_plan_is_that_of_its_golden_file(name: str):
    case = loaded(name)
    plan = shown(planning.plan(world(case)), whole=case.get("show") == "objects")
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    text = yaml.dump(plan, Dumper=dumper, sort_keys=False, width=120, allow_unicode=True)
    golden.check(f"controller/{name}.output.yaml", text)


def plans() -> list[planning.Plan]:
    return [planning.plan(world(loaded(name))) for name in CASES]


def test_every_reason_is_reached_by_some_case():
    reached = {each.reason for plan in plans() for each in plan.status.conditions if each.type == "Ready"}
    assert reached == {str(reason) for reason in conditions.Reason}


def deployments(plan: planning.Plan) -> list[dict[str, Any]]:
    return [each.body for each in plan.objects if each.body["kind"] == "Deployment"]


def test_the_number_of_pods_is_never_written():
    assert [body for plan in plans() for body in deployments(plan) if "replicas" in body["spec"]] == []


def test_a_new_deployment_that_keda_scales_begins_at_zero():
    (first,) = {each.first_replicas for each in planning.plan(world(loaded("new"))).objects} - {None}
    assert first == 0


def test_scaled_to_zero_is_ready():
    (ready,) = [each for each in planning.plan(world(loaded("idle"))).status.conditions if each.type == "Ready"]
    assert (ready.status, ready.reason) == ("True", "Idle")


def test_everything_belongs_to_the_resource_and_is_deleted_with_it():
    owners = [each.body["metadata"]["ownerReferences"] for plan in plans() for each in plan.objects]
    assert owners
    assert {(owner["uid"], owner["controller"]) for (owner,) in owners} == {("u-1", True)}


def test_a_change_of_runtime_or_scaling_is_no_new_revision():
    case = loaded("idle")
    before = planning.plan(world(case)).status.active_revision
    case["resource"]["spec"] |= {"runtime": {"engine": "ONNX"}, "scaling": {"maxReplicas": 9}}
    plan = planning.plan(world(case))
    assert (plan.status.active_revision, plan.actions) == (before, ())


def test_a_status_that_was_written_is_not_written_again():
    case = loaded("serving")
    first = planning.plan(world(case)).status
    case["resource"]["status"] = first.model_dump(mode="json", by_alias=True, exclude_none=True)
    again = planning.plan(dataclasses.replace(world(case), now=NOW + 60))
    assert (again.status, again.events) == (first, ())


def test_an_outage_of_a_store_changes_nothing_but_what_is_said():
    plan = planning.plan(world(loaded("store_unavailable")))
    assert (plan.objects, plan.deletions, plan.actions) == ((), (), ())


def test_trouble_with_the_resource_takes_no_running_pod_away():
    for name in ("model_not_found", "index_mismatch"):
        case = loaded(name)
        assert case["observed"]["owned"]
        deletions = planning.plan(world(case)).deletions
        assert [each for each in deletions if each.name == "minilm-" + active_hash(case)] == []


def active_hash(case: dict[str, Any]) -> str:
    return str(case["resource"]["status"]["activeRevision"]["hash"])
