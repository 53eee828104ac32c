"""Another model is an edit of the resource: built beside what is searched, though the controller is killed."""

import json
import shlex
import shutil
import subprocess
import time

import pytest

from bloomweaver.cli import main
from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing
from tests.e2e.test_02_scaling import COLLECTION

CONTROLLER = f"{installed.OURS},app.kubernetes.io/component=controller"
KILLS = 3


def active(release: installed.Release) -> str:
    """The model that the resource says is searched."""
    status = release.cluster.there("EmbeddingModel", "minilm").get("status", {})
    name: str = status.get("activeRevision", {}).get("model", {}).get("name", "")
    return name


def models_searched(release: installed.Release) -> list[str]:
    """The models that a search of the collection was answered by; there have to be hits."""
    body = {"query": "how does a document become searchable", "collections": [COLLECTION]}
    answer = release.call("search", "POST", "/v1/search", body)
    assert answer["status"] == 200, answer
    assert answer["body"]["hits"], "a gap: a search without hits"
    models: list[str] = answer["body"]["models"]
    assert len(models) == 1, "a search over two models of one collection"
    return models


@pytest.mark.timeout(1200)
def test_a_reindex_survives_its_controller_and_search_has_no_gap(release: installed.Release):
    space = installed.space_of_tiny(release)
    model = preparing.model()
    model["spec"]["model"] = preparing.tiny_model(space)
    began = time.monotonic()
    release.cluster.apply(model)
    killed, searches, seen = 0, 0, set[str]()
    while active(release) != "tiny":
        seen.update(models_searched(release))
        searches += 1
        reindex = release.cluster.there("EmbeddingModel", "minilm").get("status", {}).get("reindex")
        if killed < KILLS and reindex is not None:
            for pod in release.cluster.all("Pod", CONTROLLER):
                release.cluster.delete("Pod", pod["metadata"]["name"], grace_seconds=0)
            killed += 1
        assert time.monotonic() - began < 900, release.told()
    took = time.monotonic() - began
    assert killed, "the re-index was over before the controller could be killed"
    clusters.until("a search by the new model", lambda: models_searched(release) == ["tiny"] or None)
    audit = release.audit()
    assert (audit["lost"], audit["extra"], audit["resurrected"]) == (0, 0, 0), audit
    print(
        f"re-indexed in {took:.0f} s over {killed} killed controllers; {searches} searches meanwhile by {sorted(seen)}"
    )


def test_a_pin_goes_back_whatever_the_resource_says_until_it_is_taken_off(release: installed.Release, capsys):
    if shutil.which("kubectl") is None:
        pytest.skip("not run: no kubectl on the PATH")
    resource = ["--resource", "minilm", "--namespace", preparing.NAMESPACE]
    assert main.run(["models", "pin", "all-minilm-l6-v2", *resource]) == 0
    said = capsys.readouterr().out
    clusters.until("the pinned model", lambda: active(release) == "all-minilm-l6-v2" or None, state=release.told)
    clusters.until("a search by it", lambda: models_searched(release) == ["all-minilm-l6-v2"] or None)
    wished = release.cluster.there("EmbeddingModel", "minilm")["spec"]
    assert wished["model"]["name"] == "tiny", json.dumps(wished)
    subprocess.run(shlex.split(said.partition("to take it back: ")[2]), check=True, timeout=60)
    clusters.until("the model of the resource", lambda: active(release) == "tiny" or None, state=release.told)


def test_the_edit_taken_back_is_a_rollback_without_embedding(release: installed.Release):
    release.cluster.apply(preparing.model())
    clusters.until(
        "the earlier model active", lambda: active(release) == "all-minilm-l6-v2" or None, state=release.told
    )
    clusters.until("a search by it", lambda: models_searched(release) == ["all-minilm-l6-v2"] or None)
    release.until_asleep()
