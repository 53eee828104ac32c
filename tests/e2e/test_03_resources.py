"""What the API server says to good and bad resources: the table of the unit tests, where plain CEL checks the same."""

import re

import pytest

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing
from tests.unit.controller import test_resources as table


def tried(release: installed.Release, spec: str) -> None:
    """Create it without it being kept; Refused where the API server will not have it."""
    body = table.resource(spec, name="tried")
    body["metadata"] = {"name": "tried", "namespace": preparing.NAMESPACE}
    release.cluster.create(body, dry_run=True)


def named(complaint: str) -> str:
    """What the API server's sentence has to hold of ours: the field, or the message of the rule."""
    found = re.match(r"\.?(\S+): (?:unknown field (\S+)|(\S+) is required|has another|is )", complaint)
    return complaint if found is None else ".".join(filter(None, found.groups()))


@pytest.mark.parametrize("spec", table.GOOD)
def test_the_api_server_takes_a_good_resource(release: installed.Release, spec: str):
    tried(release, spec)


@pytest.mark.parametrize(("spec", "complaint"), table.BAD)
def test_the_api_server_refuses_a_bad_resource_and_names_the_field(
    release: installed.Release, spec: str, complaint: str
):
    with pytest.raises(clusters.Refused) as caught:
        tried(release, spec)
    assert named(complaint) in str(caught.value)


REASONS = [
    ("ModelNotFound", {"model": {"name": "own", "space": "0" * 16, "dimensions": 8, "maxTokens": 64}}),
    ("IndexMismatch", {"model": {"name": "bge-small-en-v1.5", "dimensions": 768, "maxTokens": 512}}),
    ("Conflict", {}),
    ("Suspended", {"model": {"name": "bge-small-en-v1.5", "dimensions": 384, "maxTokens": 512}, "suspend": True}),
]


@pytest.mark.parametrize(("reason", "changes"), REASONS, ids=[reason for reason, _ in REASONS])
def test_a_resource_that_cannot_work_says_why(release: installed.Release, reason: str, changes: installed.Object):
    name = f"odd-{reason.lower()}"
    release.cluster.apply(preparing.model(name, **changes))
    told = clusters.until(
        f"Ready with {reason}",
        lambda: ((found := release.condition(name)).get("reason") == reason and found) or None,
        state=release.told,
    )
    assert told["message"]
    release.cluster.delete("EmbeddingModel", name)
    print(f"{reason}: {told['message']}")


def test_a_claim_that_is_missing_is_named(release: installed.Release):
    source = {"claim": {"name": "not-there"}}
    spec = {"name": "lost", "space": "1" * 16, "dimensions": 8, "maxTokens": 64, "source": source}
    scaling = {"minReplicas": 1, "idleAfterSeconds": preparing.IDLE_SECONDS}
    release.cluster.apply(preparing.model("lost", model=spec, scaling=scaling))
    told = clusters.until(
        "Ready with DependencyMissing",
        lambda: ((found := release.condition("lost")).get("reason") == "DependencyMissing" and found) or None,
        state=release.told,
    )
    assert "not-there" in told["message"]
    release.cluster.delete("EmbeddingModel", "lost")
    labels = "bloomweaver.dev/model=lost"
    clusters.until("what it owned gone", lambda: not release.cluster.all("Deployment", labels) or None)
