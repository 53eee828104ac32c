"""More stores that are set up wrongly or changed by hand behind their processes; `test_wrong_setups` has the others."""

import asyncio
import json
import os
import pathlib
import subprocess

import psycopg
import pytest

from bloomweaver.adapters.engines.aws import addresses, clients
from bloomweaver.domain import reasons
from tests.integration.cli import processes
from tests.support import aws, keys, roles, running, wrong_setups

DATE = "Wed, 01 Apr 2026 12:00:00 GMT"
DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
LISTED = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
UNKNOWN = b'{"__type": "com.amazon.coral.service#UnrecognizedClientException", "message": "no"}'
DOCUMENT = "/v1/collections/default/documents/a"


@pytest.fixture
def place(postgresql_store_url: str, tmp_path: pathlib.Path) -> wrong_setups.Place:
    return wrong_setups.Place(postgresql_store_url, tmp_path)


def bucket(place: wrong_setups.Place, url: str) -> str:
    file = aws.credentials_file(place.folder)
    return aws.url("s3://bucket/prod", region="us-east-1", endpoint=url, credentials_file=file)


def by_itself(place: wrong_setups.Place, url: str) -> dict[str, str]:
    """The variables of a database on DynamoDB, and of whatever else is needed."""
    file = aws.credentials_file(place.folder)
    rest = f"sqlite:///{place.folder}/rest.db"
    return {
        "store": aws.url("dynamodb://table", region="us-east-1", endpoint=url, credentials_file=file),
        "BLOOMWEAVER_QUEUES": rest,
        "BLOOMWEAVER_VECTORS": rest,
        "BLOOMWEAVER_BLOBS": (place.folder / "blobs").as_uri(),
    }


def test_a_bucket_of_another_account(place: wrong_setups.Place):
    with wrong_setups.answered(403, DENIED, "application/xml", date=DATE) as url:
        line = place.refused(BLOOMWEAVER_BLOBS=bucket(place, url))
    assert line["reason"] == "credentials_refused"
    assert "belongs to another account" in line["why"]


def test_a_bucket_in_another_region(place: wrong_setups.Place):
    with wrong_setups.answered(200, LISTED, "application/xml", date=DATE, x_amz_bucket_region="eu-west-1") as url:
        line = place.refused(BLOOMWEAVER_BLOBS=bucket(place, url))
    assert "is in eu-west-1, not in us-east-1" in line["why"]


def test_credentials_that_the_database_in_the_cloud_does_not_take(place: wrong_setups.Place):
    with wrong_setups.answered(400, UNKNOWN, "application/x-amz-json-1.0") as url:
        assert place.refused(**by_itself(place, url))["reason"] == "credentials_refused"


@pytest.mark.parametrize("scheme", ["pinecone", "opensearch", "chroma"])
def test_credentials_that_a_vector_store_does_not_take(place: wrong_setups.Place, scheme: str):
    with wrong_setups.answered(401, b'{"message": "no"}', "application/json") as url:
        sentence = wrong_setups.unready(place, "vectors", BLOOMWEAVER_VECTORS=vectors_at(place, scheme, url))
    assert "credentials_refused" in sentence


def vectors_at(place: wrong_setups.Place, scheme: str, url: str) -> str:
    if scheme == "pinecone":
        return wrong_setups.pinecone(place, url)
    return f"{url.replace('http:', f'{scheme}:')}?tls=off"


@pytest.mark.parametrize("part", ["database", "blobs", "vectors"])
def test_a_web_page_instead_of_a_store(place: wrong_setups.Place, part: str):
    with wrong_setups.answered(200, wrong_setups.PAGE) as url:
        if part == "database":
            wrong_setups.unready(place, "start", words="ledger_unavailable", **by_itself(place, url))
        elif part == "blobs":
            assert "blobs_unavailable" in wrong_setups.unready(place, part, BLOOMWEAVER_BLOBS=bucket(place, url))
        else:
            vectors = vectors_at(place, "chroma", url)
            assert "vectors_unavailable" in wrong_setups.unready(place, part, BLOOMWEAVER_VECTORS=vectors)


def test_an_extension_that_was_dropped(place: wrong_setups.Place):
    place.execute("DROP EXTENSION vector CASCADE")
    try:
        line = place.refused("search")
    finally:
        place.execute("CREATE EXTENSION vector SCHEMA public")
    assert "no extension vector any more" in line["why"]


def test_an_extension_that_may_not_be_made(postgresql_url: str, tmp_path: pathlib.Path):
    with roles.made(postgresql_url) as made:
        with psycopg.connect(postgresql_url, autocommit=True) as admin:
            admin.execute("DROP EXTENSION vector")
        ended = command(
            tmp_path, "migrate", BLOOMWEAVER_STORE=made.owner, BLOOMWEAVER_POSTGRESQL_PASSWORD=made.password
        )
    assert ended.returncode == 1
    assert "Have a superuser run CREATE EXTENSION vector" in ended.stderr
    assert "Traceback" not in ended.stderr


def command(folder: pathlib.Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A command to its end, with these variables and no others of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BLOOMWEAVER_")}
    return subprocess.run(
        [*processes.PROGRAM, *arguments, "--data", str(folder / "data")],
        env={**kept, **variables}, text=True, capture_output=True, check=False, timeout=running.END_SECONDS,
    )  # fmt: skip


def test_the_doctor_names_what_is_wrong_with_each_store_though_nothing_runs(place: wrong_setups.Place):
    place.execute("DELETE FROM schema_migration WHERE component = 'ledger'")
    refused = wrong_setups.answered(403, DENIED, "application/xml", date=DATE)
    with wrong_setups.answered(200, wrong_setups.PAGE) as page, refused as denied:
        file = aws.credentials_file(place.folder)
        ended = command(
            place.folder,
            "doctor",
            "--json",
            BLOOMWEAVER_STORE=place.url,
            BLOOMWEAVER_QUEUES=aws.url("sqs://us-east-1/bloom", endpoint=page, credentials_file=file),
            BLOOMWEAVER_BLOBS=bucket(place, denied),
            BLOOMWEAVER_VECTORS=vectors_at(place, "opensearch", page),
        )
    assert ended.returncode != 0
    told = {check["found"].partition(":")[0]: check for check in json.loads(ended.stdout)["checks"]}
    for part, words in (
        ("database", "Run bloomweaver migrate"),
        ("queues", "answered with a web page"),
        ("blobs", "belongs to another account"),
        ("vectors", "does not speak OpenSearch's JSON"),
    ):
        assert words in told[part]["found"]
        assert (told[part]["level"], bool(told[part]["next"])) == ("bad", True)
    assert "Traceback" not in ended.stderr


def test_two_deployments_in_one_database_do_not_see_each_other(place: wrong_setups.Place):
    other = f"{place.url}?schema=second"
    first, second = (asyncio.run(keys.prepared(url)) for url in (place.url, other))
    with place.services() as ours, place.services(store=other) as theirs:
        webhooks = [made.start("webhook") for made in (ours, theirs)]
        for made in (ours, theirs):
            made.until_ready()
        wrong_setups.call(webhooks[0], first, "PUT", DOCUMENT, json={"text": "apples"})
        counts = [
            wrong_setups.call(webhook, key, "GET", "/v1/status")["counts"]
            for webhook, key in zip(webhooks, (first, second), strict=True)
        ]
    assert [sum(each.values()) for each in counts] == [1, 0]
    place.execute("DROP SCHEMA second CASCADE")


@pytest.mark.timeout(600)
def test_hints_that_somebody_purged_are_sent_again(place: wrong_setups.Place, elasticmq_server):
    file = aws.credentials_file(place.folder)
    settings = {"endpoint": elasticmq_server.url, "credentials_file": file}
    key = asyncio.run(keys.prepared(place.url))
    with place.services(BLOOMWEAVER_QUEUES=aws.url("sqs://us-east-1/purged", **settings)) as made:
        webhook = made.start("webhook")
        made.until_ready()
        wrong_setups.call(webhook, key, "PUT", DOCUMENT, json={"text": "apples"})
        running.until(lambda: waiting(webhook, key) == 1, what=webhook.log)
        asyncio.run(purge("purged_change__", addresses.Access(region="us-east-1", **settings)))
        assert waiting(webhook, key) == 0
        for name in ("reconciler", "embedder", "writer"):
            made.start(name)
        running.until(lambda: state(webhook, key) == "searchable", what=webhook.log, seconds=running.END_SECONDS)


def waiting(webhook: running.Service, key: str) -> int:
    queues = wrong_setups.call(webhook, key, "GET", "/v1/status")["queues"]
    return sum(int(queue["visible"]) for queue in queues.values())


def state(webhook: running.Service, key: str) -> str:
    return str(wrong_setups.call(webhook, key, "GET", DOCUMENT)["state"])


async def purge(prefix: str, access: addresses.Access) -> None:
    """What an operator does in the console."""
    async with clients.open_calls("sqs", access, what="SQS", unavailable=reasons.Reason.QUEUE_UNAVAILABLE) as calls:
        found = await calls.call("list_queues", {"QueueNamePrefix": prefix})
        for url in found["QueueUrls"]:
            await calls.call("purge_queue", {"QueueUrl": url})
