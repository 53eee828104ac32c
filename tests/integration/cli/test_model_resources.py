"""`bloomweaver models promote` and `pin` with `--resource`, over a `kubectl` that keeps the resource in a file."""

import json
import stat
import sys

import pytest

from bloomweaver.cli import main, model_resources

KUBECTL = """#!{python}
import json, pathlib, sys
place = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
(place / "calls").open("a").write(json.dumps(arguments) + "\\n")
kept = place / "resource.json"
if not kept.exists():
    sys.exit("Error from server (NotFound): embeddingmodels.bloomweaver.dev \\"minilm\\" not found")
if arguments[0] == "get":
    print(kept.read_text())
else:
    (place / "patched").write_text(next(one for one in arguments if one.startswith("--patch=")).partition("=")[2])
"""


def revision(name: str, hash_: str):
    return {"hash": hash_, "space": "0" * 16, "model": {"name": name}}


RESOURCE = {
    "metadata": {"name": "minilm", "resourceVersion": "41"},
    "status": {
        "activeRevision": revision("bge-small-en-v1.5", "aaaaaaaa"),
        "previousRevision": revision("all-minilm-l6-v2", "bbbbbbbb"),
        "candidateRevision": revision("mine", "cccccccc"),
    },
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with the command and what it knows."""
    script = tmp_path / "kubectl"
    script.write_text(KUBECTL.format(python=sys.executable), encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "resource.json").write_text(json.dumps(RESOURCE), encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def patched(cluster):
    return json.loads((cluster / "patched").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("verb", "model", "rollout"),
    [
        ("pin", "all-minilm-l6-v2", {"pin": "bbbbbbbb", "promote": ""}),
        ("pin", "aaaaaaaa", {"pin": "aaaaaaaa", "promote": ""}),
        ("promote", "mine", {"promote": "cccccccc", "pin": ""}),
    ],
)
def test_the_revision_is_looked_up_and_wished_for(cluster, capsys, verb, model, rollout):
    assert main.run(["models", verb, model, "--resource", "minilm", "-n", "search", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["revision"]["hash"] == rollout[verb]
    assert patched(cluster) == {"metadata": {"resourceVersion": "41"}, "spec": {"rollout": rollout}}
    calls = [json.loads(line) for line in (cluster / "calls").read_text(encoding="utf-8").splitlines()]
    assert [call[0] for call in calls] == ["get", "patch"]
    assert all(call[1:3] == [model_resources.KIND, "minilm"] and "--namespace=search" in call for call in calls)


def test_a_person_is_told_how_to_take_it_back(cluster, capsys):
    assert main.run(["models", "pin", "all-minilm-l6-v2", "--resource", "minilm"]) == 0
    said = capsys.readouterr().out
    assert "minilm searches all-minilm-l6-v2 (bbbbbbbb)" in said
    assert f"kubectl patch {model_resources.KIND} minilm --type=merge" in said


def refused(capsys, *arguments, code=1):
    assert main.run(["models", *arguments]) == code
    return capsys.readouterr().err


def test_a_model_that_the_resource_does_not_have_names_those_that_it_has(cluster, capsys):
    said = refused(capsys, "pin", "other", "--resource", "minilm")
    assert "all-minilm-l6-v2 (bbbbbbbb), bge-small-en-v1.5 (aaaaaaaa)" in said
    assert not (cluster / "patched").exists()


def test_a_resource_that_is_not_there_gives_what_kubectl_says(cluster, capsys):
    (cluster / "resource.json").unlink()
    assert "not found" in refused(capsys, "pin", "all-minilm-l6-v2", "--resource", "minilm")


def test_without_kubectl_the_advice_is_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Install it" in refused(capsys, "pin", "all-minilm-l6-v2", "--resource", "minilm")


@pytest.mark.parametrize("name", ["--all", "Upper", "a b", "-"])
def test_what_is_no_name_never_reaches_kubectl(cluster, capsys, name):
    assert "is no name in Kubernetes" in refused(capsys, "pin", "m", f"--resource={name}", code=2)
    assert not (cluster / "calls").exists()


def test_a_namespace_needs_a_resource(cluster, capsys):
    assert "goes with --resource" in refused(capsys, "pin", "mine", "-n", "search", code=2)


def test_force_does_not_go_with_a_resource(cluster, capsys):
    assert "maxFailedPercent" in refused(capsys, "promote", "mine", "--resource", "minilm", "--force", code=2)
