"""The chart: what Helm makes of it for a matrix of values, and the rules that every render keeps."""

import copy
import functools
import pathlib
import re
from typing import Any

import pytest
import yaml

import bloomweaver
from bloomweaver.controller import apply, resources
from bloomweaver.runtime import config
from tests.support import chart_reference, charts, golden, settings_reference

RENDERED = charts.ROOT / "k8s" / "rendered"
OLDEST, NEWEST = "1.30", "1.37"

WITHOUT_CONTROLLER: dict[str, Any] = {"controller": {"enabled": False}, "writer": {"keda": {"enabled": False}}}
EXTERNAL: dict[str, Any] = {"stores": {"url": "postgresql://bloomweaver@db.example/documents"}}
MATRIX: dict[str, dict[str, Any]] = {
    "default": {},
    "laptop": charts.values("laptop"),
    "one-server": charts.values("one-server"),
    "eks": charts.values("eks"),
    "opensearch": {
        "stores": {
            "vectors": "opensearch://search.example:9200/bloomweaver?user=bloomweaver&password_file=/run/secrets/opensearch/password",
            "cache": "valkey://cache.example",
            "secretMounts": ["opensearch"],
        },
        **WITHOUT_CONTROLLER,
    },
    "chroma": {"stores": {"vectors": "chroma://chroma.example:8000"}, "image": {"tag": "0.1.0-chroma"}},
    "digests-and-models": {
        "image": {"digests": {"webhook": "sha256:" + "a" * 64}, "pullSecrets": ["registry"]},
        "modelFiles": {"existingClaim": "weights"},
        "embedder": {
            "models": [
                {"name": "own", "model": "handbook", "replicas": 2, "nodeSelector": {"pool": "cpu"}},
                {"name": "minilm", "model": "all-minilm-l6-v2", "resources": {"limits": {"memory": "3Gi"}}},
            ]
        },
        "commonLabels": {"team": "search"},
        **WITHOUT_CONTROLLER,
    },
    "controller": {
        "controller": {"gpuNodeLabels": {"pool": "gpu"}},
        "image": {"pullSecrets": ["registry"]},
    },
    "controller-with-stores": {
        "controller": {
            "podSecret": "embedders",
            "podVariables": {"BLOOMWEAVER_VECTORS": "pinecone://documents"},
        },
        "writer": {"operations": ["all"]},
        "stores": {
            **EXTERNAL["stores"],
            "vectors": "pinecone://documents?key_file=/run/secrets/pinecone/api-key",
            "secretMounts": ["pinecone"],
        },
    },
    "ingress-without-tls": {"ingress": {"enabled": True, "host": "a.example", "tls": {"insecure": True}}},
    "no-policies": {"networkPolicy": {"enabled": False}, "migrations": {"enabled": False}, **EXTERNAL},
}
every_render = pytest.mark.parametrize("name", MATRIX)


@functools.cache
def rendered(name: str, *, upgrade: bool = False) -> charts.Rendered:
    return charts.render(MATRIX[name], upgrade=upgrade)


def with_existing_secrets(values: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(values)
    for part, given in charts.EXISTING_SECRETS.items():
        merged[part] = {**given, **merged.get(part, {})}
    return merged


@pytest.mark.parametrize("name", ["default", "one-server", "eks"])
def test_what_people_without_helm_apply_is_what_the_chart_renders(name: str):
    manifest = charts.render(with_existing_secrets(MATRIX[name])).manifest()
    golden.check(f"{name}.yaml", manifest, folder=RENDERED)


@pytest.mark.parametrize("name", ["default", "one-server", "eks", "ingress-without-tls", "controller"])
def test_the_notes_tell_the_next_command(name: str):
    golden.check(pathlib.Path("chart") / f"notes-{name}.txt", rendered(name).notes)
    assert len(rendered(name).notes.splitlines()) <= 25


@every_render
def test_helm_finds_nothing_to_complain_about(name: str):
    assert charts.lint(MATRIX[name]) == []


@every_render
def test_kubernetes_takes_every_object(name: str):
    assert charts.complaints(rendered(name).objects, version=NEWEST) == []


@pytest.mark.parametrize("name", ["default", "eks"])
def test_the_oldest_version_that_the_chart_allows_takes_every_object(name: str):
    assert charts.complaints(rendered(name).objects, version=OLDEST) == []
    assert f'kubeVersion: ">={OLDEST}.0-0"' in (charts.CHART / "Chart.yaml").read_text(encoding="utf-8")


def test_a_misspelt_field_of_an_object_is_noticed():
    [deployment, *_] = copy.deepcopy(rendered("default").of_kind("Deployment"))
    deployment["spec"]["replica"] = 1
    assert len(charts.complaints([deployment], version=NEWEST)) == 1


@every_render
def test_pods_are_restricted_and_but_for_the_controller_have_no_token_of_the_api_server(name: str):
    for where, pod in charts.pod_specs(rendered(name).objects).items():
        # The one process that asks the API server.
        assert pod["automountServiceAccountToken"] is (where == "Deployment bloomweaver-controller"), where
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where
        assert not any("hostPath" in volume for volume in pod["volumes"]), where


@every_render
def test_containers_have_resources_and_an_image_that_does_not_move(name: str):
    for where, pod in charts.pod_specs(rendered(name).objects).items():
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            assert "memory" in container["resources"]["limits"], where
            assert re.search(r"(@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]*)$", container["image"]), where


@every_render
def test_no_secret_is_a_value_of_a_variable(name: str):
    for where, pod in charts.pod_specs(rendered(name).objects).items():
        named = [
            each["name"] for container in pod["containers"] for each in container.get("env", []) if "value" in each
        ]
        secret = re.compile(r"(?<!_POD)_(PASSWORD|SECRET|KEY|TOKEN)$")  # POD_SECRET is the name of one
        assert [each for each in named if secret.search(each)] == [], where


@every_render
def test_only_what_answers_requests_holds_up_a_drain(name: str):
    guarded = {
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        for each in rendered(name).of_kind("PodDisruptionBudget")
    }
    assert guarded <= {"webhook", "search"}


@every_render
def test_what_an_autoscaler_scales_has_no_replicas_of_its_own(name: str):
    scalers = rendered(name).of_kind("HorizontalPodAutoscaler", "ScaledObject")
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in scalers}
    counted = {each["metadata"]["name"] for each in rendered(name).of_kind("Deployment") if "replicas" in each["spec"]}
    everything = {each["metadata"]["name"] for each in rendered(name).of_kind("Deployment")}
    assert everything - counted == scaled


@every_render
def test_selectors_choose_their_own_pods_and_nobody_elses(name: str):
    deployments = rendered(name).of_kind("Deployment", "StatefulSet")
    for chosen in deployments:
        wanted = chosen["spec"]["selector"]["matchLabels"].items()
        fitting = [each for each in deployments if wanted <= each["spec"]["template"]["metadata"]["labels"].items()]
        assert fitting == [chosen]
    for service in rendered(name).of_kind("Service"):
        wanted = service["spec"]["selector"].items()
        [target] = [each for each in deployments if wanted <= each["spec"]["template"]["metadata"]["labels"].items()]
        ports = {port["name"] for port in target["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@every_render
def test_names_are_unique_and_mounts_have_volumes(name: str):
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered(name).objects]
    assert len(names) == len(set(names))
    for where, pod in charts.pod_specs(rendered(name).objects).items():
        volumes = {volume["name"] for volume in pod["volumes"]} | (
            {"data"} if where.startswith("StatefulSet") else set()
        )
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes, where


@every_render
def test_processes_understand_the_variables_that_they_are_given(name: str):
    for each in rendered(name).of_kind("Deployment"):
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        [container] = each["spec"]["template"]["spec"]["containers"]
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        # A file that is mounted is not here; what is in it has a test of its own.
        variables = {
            key.removesuffix("_FILE"): "5e" * 32 if key.endswith("_FILE") else value for key, value in given.items()
        }
        found = config.read(settings_reference.SERVICES[component], variables)
        assert found.model_dump()["port"] == container["ports"][0]["containerPort"]


@every_render
def test_the_grace_of_a_pod_outlasts_that_of_its_process(name: str):
    for each in rendered(name).of_kind("Deployment"):
        pod = each["spec"]["template"]["spec"]
        [container] = pod["containers"]
        grace = next(float(v["value"]) for v in container["env"] if v["name"] == "BLOOMWEAVER_GRACE_SECONDS")
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod["terminationGracePeriodSeconds"] >= grace + pause + 5


def test_without_policies_off_nothing_goes_in_or_out_but_what_is_named():
    nothing = rendered("default").named("NetworkPolicy", "bloomweaver-nothing")["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in nothing
    assert [rule.keys() for rule in nothing["egress"]] == [{"ports"}]
    stores = rendered("default").named("NetworkPolicy", "bloomweaver-stores")["spec"]
    assert all("to" in rule for rule in stores["egress"]), "with the bundled store nothing outside is reached"
    assert rendered("no-policies").of_kind("NetworkPolicy") == []


def test_the_bundled_database_is_there_only_without_a_store_of_ones_own():
    assert len(rendered("default").of_kind("StatefulSet")) == 1
    assert rendered("one-server").of_kind("StatefulSet") == []


def test_the_roles_of_the_bundled_database_are_those_that_the_docs_ask_for():
    page = (charts.ROOT / "docs/reference/backends/postgresql.md").read_text(encoding="utf-8")
    [wanted] = re.findall(r"```sql\n(CREATE EXTENSION.*?)```", page, re.DOTALL)
    script = rendered("default").named("ConfigMap", "bloomweaver-postgresql")["data"]["roles.sh"]
    [made] = re.findall(r"<<'SQL'\n(.*?)SQL\n", script, re.DOTALL)
    assert re.sub(r" PASSWORD :'\w+'", "", made).split() == wanted.split()


def test_a_migration_is_an_ordinary_job_at_first_and_a_hook_before_every_upgrade():
    [first] = rendered("default").of_kind("Job")
    [later] = rendered("default", upgrade=True).of_kind("Job")
    assert "annotations" not in first["metadata"]
    assert later["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert first["spec"] == later["spec"]


def test_a_migration_runs_as_the_role_that_owns_the_tables():
    [job] = rendered("one-server").of_kind("Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["env"][0]["value"].startswith("postgresql://bloomweaver_owner@")
    [store] = [volume for volume in pod["volumes"] if volume["name"] == "store"]
    assert store["secret"]["secretName"] == "database-owner"


def test_the_controller_may_do_what_it_does_and_no_more():
    [role] = rendered("controller").of_kind("Role")
    allowed = {
        (group, kind.partition("/")[0]): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for kind in rule["resources"]
    }
    for kind, (path, plural) in apply.PATHS.items():
        group = path.split("/")[1] if path.startswith("apis/") else ""
        assert (group, plural) in allowed, kind
    assert "*" not in str(role["rules"])
    assert {each["kind"] for each in rendered("controller").objects} & {"ClusterRole", "ClusterRoleBinding"} == set()
    for rule in role["rules"]:
        assert "secrets" not in rule["resources"] or (rule["resourceNames"], rule["verbs"]) == (
            ["bloomweaver-pods"],
            ["get"],
        )


@pytest.mark.parametrize("name", ["controller", "controller-with-stores"])
def test_what_the_controller_is_told_of_is_there(name: str):
    objects = {(each["kind"], each["metadata"]["name"]): each for each in rendered(name).objects}
    [container] = objects["Deployment", "bloomweaver-controller"]["spec"]["template"]["spec"]["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    pods = objects["ConfigMap", given["BLOOMWEAVER_POD_CONFIG_MAP"]]["data"]
    assert ("ServiceAccount", given["BLOOMWEAVER_POD_SERVICE_ACCOUNT"]) in objects
    assert ("Lease", given["BLOOMWEAVER_LEASE"]) in objects
    secret = objects.get(("Secret", given["BLOOMWEAVER_POD_SECRET"]))
    assert given["BLOOMWEAVER_POD_SECRET"] == "embedders" or (
        secret and "BLOOMWEAVER_POSTGRESQL_PASSWORD" in secret["data"]
    )
    service, _, port = given["BLOOMWEAVER_SCALER_ADDRESS"].partition(".bloomweaver.svc:")
    assert int(port) in {each["port"] for each in objects["Service", service]["spec"]["ports"]}
    config.read(settings_reference.SERVICES["embedder"], pods)
    for scaled in rendered(name).of_kind("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            assert trigger["metadata"]["scalerAddress"] == given["BLOOMWEAVER_SCALER_ADDRESS"]
            assert trigger["metadata"]["lane"] in {"create", "update", "delete"}


def test_pods_are_replaced_when_what_they_are_set_up_by_changes_and_only_then():
    def digest(values: dict[str, Any]) -> str:
        deployment = charts.render({**MATRIX["controller"], **values}).named("Deployment", "bloomweaver-controller")
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        return str(given["BLOOMWEAVER_POD_SETTINGS_DIGEST"])

    assert digest({}) == digest({"webhook": {"replicas": 3}})
    assert digest({}) != digest({"log": {"level": "debug"}})


def test_what_keda_is_told_of_a_writer_is_the_shape_that_is_documented():
    documented = yaml.safe_load((charts.ROOT / "keda" / "writer.yaml").read_text(encoding="utf-8"))["spec"]
    rendered_spec = copy.deepcopy(rendered("controller").named("ScaledObject", "bloomweaver-writer-create")["spec"])
    for spec in (documented, rendered_spec):
        for trigger in spec["triggers"]:
            trigger["name"] = trigger["metadata"]["scalerAddress"] = "any"
    assert rendered_spec == documented


@pytest.mark.parametrize("name", ["controller", "controller-with-stores"])
def test_models_are_made_by_the_controller_where_it_runs_and_by_the_chart_elsewhere(name: str):
    [model] = rendered(name).of_kind("EmbeddingModel")
    resources.Spec.model_validate(model["spec"])
    assert [each for each in rendered(name).of_kind("Deployment") if "embedder" in each["metadata"]["name"]] == []
    assert rendered("laptop").of_kind("EmbeddingModel") == []


def test_secrets_that_were_made_survive_uninstalling_and_fit_what_reads_them():
    made = rendered("laptop").of_kind("Secret")
    assert {each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in made} == {"keep"}
    assert {each["metadata"]["name"] for each in made} == {"bloomweaver-postgresql", "bloomweaver-sealing"}
    assert charts.render(with_existing_secrets({})).of_kind("Secret") == []


def test_paths_lead_to_the_processes_that_answer_them():
    rules = rendered("eks").of_kind("HTTPRoute")[0]["spec"]["rules"]
    served = {rule["matches"][0]["path"]["value"]: rule["backendRefs"][0]["name"] for rule in rules}
    [rule] = rendered("one-server").of_kind("Ingress")[0]["spec"]["rules"]
    assert served == {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert served["/v1/search"] == "bloomweaver-search"
    assert served["/v1"] == "bloomweaver-webhook"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"webhok": {}}, "webhok"),
        ({"webhook": {"replica": 2}}, "replica"),
        ({"webhook": {"replicas": "two"}}, "replicas"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"stores": {"url": "sqlite:////data/ledger.db"}}, "url"),
        ({"stores": {"url": "postgresql://user:secret phrase@host/db"}}, "url"),
        ({"writer": {"operations": ["insert"]}}, "operations"),
        ({"embedder": {"models": [{"model": "all-minilm-l6-v2"}]}}, "name"),
        ({"ingress": {"enabled": True, "tls": {"insecure": True}}}, "ingress.host is empty"),
        ({"ingress": {"enabled": True, "host": "a.example"}}, "ingress.tls.secretName is empty"),
        ({"controller": {"enabled": False}}, "writer.keda.enabled needs controller.enabled"),
        ({"stores": {"secretMounts": ["pinecone"]}}, "controller.podVariables"),
        ({"stores": EXTERNAL["stores"] | {"passwordSecret": {"name": "database"}}}, "controller.podSecret"),
        ({"gateway": {"enabled": True}}, "gateway.parentRefs is empty"),
    ],
    ids=str,
)
def test_values_that_cannot_be_meant_are_refused_by_name(values: dict[str, Any], named: str):
    with pytest.raises(charts.Refused, match=re.escape(named)):
        charts.render(values)


def test_every_value_is_explained_and_the_page_has_them_all():
    assert chart_reference.undescribed() == []
    page = charts.ROOT / "docs" / "reference" / "chart.md"
    golden.check(page.name, chart_reference.page(page.read_text(encoding="utf-8")), folder=page.parent)


def test_chart_images_and_package_have_one_version():
    text = (charts.CHART / "Chart.yaml").read_text(encoding="utf-8")
    assert re.findall(r'^(?:version|appVersion): "?([\d.]+)"?$', text, re.MULTILINE) == [bloomweaver.__version__] * 2


def test_the_charts_definition_of_the_resource_is_the_one_of_the_source():
    copied = (charts.CHART / "crds" / "embeddingmodel.yaml").read_text(encoding="utf-8")
    golden.check(
        "embeddingmodel.yaml",
        (charts.ROOT / "k8s/crds/embeddingmodel.yaml").read_text("utf-8"),
        folder=charts.CHART / "crds",
    )
    assert copied.startswith("#") or "CustomResourceDefinition" in copied
