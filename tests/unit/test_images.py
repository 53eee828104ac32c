"""What images are made from, and the files that run them without Kubernetes. No engine is at hand here to build one."""

import fnmatch
import pathlib
import re
import tomllib
from typing import Any

import pytest
import yaml

import bloomweaver
from bloomweaver.runtime import config
from tests.support import settings_reference

ROOT = pathlib.Path(__file__).parents[2]
DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMAGES = [
    line.split()
    for line in (ROOT / "services" / "images.conf").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def test_every_image_has_a_process_and_extras_that_exist():
    for image, service, model, _, extras in IMAGES:
        assert f"bloomweaver-{service}" in PROJECT["scripts"], image
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys(), image
        assert (model == "with") == ("openvino" in extras), image


def test_what_the_build_copies_is_let_through_by_dockerignore():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    copied = [
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, rule) or rule.startswith(source + "/") for rule in let_through), source


def test_an_image_runs_as_a_number_and_is_process_one_itself():
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER \d+:\d+$", final, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["', final, re.MULTILINE), "a shell in front would keep SIGTERM to itself"
    assert "pip install" not in final, "what builds stays in the stage that builds"


def test_what_is_installed_is_pinned_by_hash():
    installs = re.findall(r"uv pip install (?:[^\n]*\\\n)*[^\n]*", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in each or "constraint requirements/" in each for each in installs)


@pytest.mark.parametrize("name", ["webhook", "search", "embedder", "writer", "reconciler"])
def test_compose_gives_each_process_variables_that_it_understands(name: str):
    service = COMPOSE["services"][name]
    given = dict(service["environment"])
    variables = {
        key.removesuffix("_FILE"): "5e" * 32 if key.endswith("_FILE") else value for key, value in given.items()
    }
    config.read(settings_reference.SERVICES[name], variables)
    files = {value.rpartition("/")[2] for key, value in given.items() if key.endswith("_FILE")}
    assert files == set(service["secrets"])
    assert service["read_only"] is True


def test_compose_runs_the_images_that_are_built():
    images = {service["image"] for service in COMPOSE["services"].values()} - {"pgvector/pgvector:0.8.0-pg17"}
    assert images <= {f"bloomweaver/{image[0]}:{bloomweaver.__version__}" for image in IMAGES}


def test_the_roles_of_composes_database_are_those_that_the_docs_ask_for():
    page = (ROOT / "docs" / "reference" / "backends" / "postgresql.md").read_text(encoding="utf-8")
    [wanted] = re.findall(r"```sql\n(CREATE EXTENSION.*?)```", page, re.DOTALL)
    [made] = re.findall(r"<<'SQL'\n(.*?)SQL\n", COMPOSE["configs"]["roles"]["content"], re.DOTALL)
    assert re.sub(r" PASSWORD :'\w+'", "", made).split() == wanted.split()
