"""Stores that are set up wrongly, met by whole processes: one clear line and code 78, or unready with the reason.

Never a crash without a reason, never a retry for ever in silence, never a wrong answer.
"""

import asyncio
import pathlib
import urllib.parse

import psycopg
import pytest

from bloomweaver.adapters.engines.aws import addresses, clients
from bloomweaver.domain import reasons
from tests.integration.cli import processes
from tests.storm import servers
from tests.support import aws, keys, running, wrong_setups

DIMENSION = 8


@pytest.fixture
def place(postgresql_store_url: str, tmp_path: pathlib.Path) -> wrong_setups.Place:
    return wrong_setups.Place(postgresql_store_url, tmp_path)


def other(url: str, *, user: str = "postgres", database: str | None = None) -> str:
    parts = urllib.parse.urlsplit(url)
    netloc = f"{user}@{parts.netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc, path=f"/{database}" if database else parts.path).geturl()


def test_a_wrong_password_of_the_database(place: wrong_setups.Place):
    line = place.refused(BLOOMWEAVER_POSTGRESQL_PASSWORD="open sesame")
    assert line["reason"] == "credentials_refused"
    assert "open sesame" not in str(line)


def test_a_database_that_is_not_there(place: wrong_setups.Place):
    line = place.refused(store=other(place.url, database="no_such_database"))
    assert line["reason"] == "credentials_refused"
    assert "no_such_database" in line["why"]


def test_a_database_of_a_newer_release(place: wrong_setups.Place):
    place.execute("INSERT INTO schema_migration (component, version, script) VALUES ('ledger', 999, 'later.sql')")
    line = place.refused()
    assert line["reason"] == "schema_too_new"
    assert "newer than this release" in line["why"]


@pytest.mark.parametrize("name", ["webhook", "writer"])
def test_a_process_waits_for_the_migration_and_then_starts_by_itself(place: wrong_setups.Place, name: str):
    place.execute("ALTER TABLE schema_migration RENAME TO away")
    with place.services() as made:
        service = made.start(name)
        assert "Run bloomweaver migrate" in wrong_setups.waits(service, "schema_too_old")
        place.execute("ALTER TABLE away RENAME TO schema_migration")
        running.until(lambda: service.get("/readyz")[0] == 200, what=service.log)
        assert service.process.poll() is None


def test_a_bucket_that_is_not_there(place: wrong_setups.Place, versitygw_server):
    file = versitygw_server.env["AWS_SHARED_CREDENTIALS_FILE"]
    url = aws.url("s3://no-such-bucket/prod", region="us-east-1", endpoint=versitygw_server.url, credentials_file=file)
    assert "no-such-bucket" in place.refused(BLOOMWEAVER_BLOBS=url)["why"]


def test_credentials_that_the_object_store_does_not_take(place: wrong_setups.Place, versitygw_server):
    settings = {"region": "us-east-1", "endpoint": versitygw_server.url}
    file = versitygw_server.env["AWS_SHARED_CREDENTIALS_FILE"]
    asyncio.run(made_bucket("wrong-setups", addresses.Access(**settings, credentials_file=file)))
    wrong = aws.credentials_file(place.folder, secret_key="wrong")
    url = aws.url("s3://wrong-setups/prod", **settings, credentials_file=wrong)
    assert place.refused(BLOOMWEAVER_BLOBS=url)["reason"] == "credentials_refused"


async def made_bucket(bucket: str, access: addresses.Access) -> None:
    async with clients.open_calls("s3", access, what="S3", unavailable=reasons.Reason.BLOBS_UNAVAILABLE) as calls:
        await calls.call("create_bucket", {"Bucket": bucket})


def test_a_table_that_is_not_there(place: wrong_setups.Place, dynamodb_server):
    file = aws.credentials_file(place.folder)
    url = aws.url("dynamodb://no-such-table", region="us-east-1", endpoint=dynamodb_server.url, credentials_file=file)
    blobs = (place.folder / "blobs").as_uri()
    vectors = queues = f"sqlite:///{place.folder}/rest.db"
    with place.services(
        store=url, BLOOMWEAVER_BLOBS=blobs, BLOOMWEAVER_VECTORS=vectors, BLOOMWEAVER_QUEUES=queues
    ) as made:
        told = wrong_setups.waits(made.start("writer"), "schema_too_old")
    assert "no-such-table" in told
    assert "bloomweaver migrate" in told


@pytest.mark.parametrize("scheme", ["pinecone", "opensearch", "sqs"])
def test_a_store_that_answers_with_a_web_page(place: wrong_setups.Place, scheme: str):
    with wrong_setups.answered(200, wrong_setups.PAGE) as url:
        file = aws.credentials_file(place.folder)
        variable, value = {
            "pinecone": ("VECTORS", wrong_setups.pinecone(place, url)),
            "opensearch": ("VECTORS", f"{url.replace('http:', 'opensearch:')}?tls=off"),
            "sqs": ("QUEUES", aws.url("sqs://us-east-1/bloom", endpoint=url, credentials_file=file)),
        }[scheme]
        sentence = wrong_setups.unready(place, variable.lower(), **{f"BLOOMWEAVER_{variable}": value})
    assert "invalid_configuration" in sentence or "unavailable" in sentence


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "AccessDenied"])
def test_credentials_or_rights_that_the_queues_refuse(place: wrong_setups.Place, code: str):
    body = f'{{"__type": "com.amazonaws.sqs#{code}", "message": "no"}}'.encode()
    with wrong_setups.answered(403, body, "application/x-amz-json-1.0") as url:
        file = aws.credentials_file(place.folder)
        queues = aws.url("sqs://us-east-1/bloom", endpoint=url, credentials_file=file)
        assert "credentials_refused" in wrong_setups.unready(place, "queues", BLOOMWEAVER_QUEUES=queues)


def test_an_index_of_another_metric(place: wrong_setups.Place):
    double = servers.Double("tests.storm.pinecone", "--metric=dotproduct")
    double.start()
    try:
        sentence = wrong_setups.unready(place, "vectors", BLOOMWEAVER_VECTORS=wrong_setups.pinecone(place, double.url))
    finally:
        double.kill()
    assert "invalid_configuration" in sentence


@pytest.fixture
def key(place: wrong_setups.Place) -> str:
    """That may do everything."""
    return asyncio.run(keys.prepared(place.url))


@pytest.mark.timeout(600)
def test_an_index_of_another_dimension_holds_what_it_cannot_take_and_loses_nothing(place: wrong_setups.Place, key: str):
    double = servers.Double("tests.storm.pinecone", f"--dimension={DIMENSION * 2}")
    double.start()
    try:
        with place.services(BLOOMWEAVER_VECTORS=wrong_setups.pinecone(place, double.url)) as made:
            webhook, writer = made.start("webhook"), made.start("writer")
            made.start("embedder")
            made.until_ready()
            wrong_setups.call(webhook, key, "PUT", "/v1/collections/default/documents/a", json={"text": "apples"})
            running.until(lambda: writer.get("/readyz")[0] == 503, what=writer.log)
            assert "dimension_mismatch" in str(writer.get("/readyz")[1]["obstacles"])
            counts = wrong_setups.call(webhook, key, "GET", "/v1/status")["counts"]
            assert counts.get("failed", 0) == 0
            assert sum(counts.get(state, 0) for state in ("pending", "indexing")) == 1
            told = writer.log.read_text()
            assert str(DIMENSION * 2) in told
            assert "Traceback" not in told
    finally:
        double.kill()


@pytest.mark.timeout(600)
def test_a_namespace_that_was_deleted_by_hand_is_named_by_the_audit_and_repaired(place: wrong_setups.Place, key: str):
    with place.services() as made:
        webhook, search, reconciler = (made.start(name) for name in ("webhook", "search", "reconciler"))
        made.start("embedder")
        made.start("writer")
        made.until_ready()
        path = "/v1/collections/default/documents/a?wait=searchable&timeout=60"
        wrong_setups.call(webhook, key, "PUT", path, json={"text": "apples and pears"})
        with psycopg.connect(place.url, autocommit=True) as connection:
            connection.execute("SET search_path TO bloomweaver, public")
            for (number,) in connection.execute("DELETE FROM vector_namespace RETURNING id").fetchall():
                connection.execute(f"DROP TABLE vectors_{number}".encode())
        found = wrong_setups.call(reconciler, key, "POST", "/v1/audit", json={})
        assert (found["clean"], found["lost"]) == (False, 1)
        repaired = wrong_setups.call(reconciler, key, "POST", "/v1/audit", json={"repair": True})
        assert repaired["repaired"] == 1
        assert wrong_setups.call(reconciler, key, "POST", "/v1/audit", json={})["clean"]
        hits = wrong_setups.call(search, key, "POST", "/v1/search", json={"query": "apples"})["hits"]
        assert [hit["document_id"] for hit in hits] == ["a"]


def test_the_doctor_names_the_store_that_is_away(place: wrong_setups.Place):
    with (
        wrong_setups.answered(200, wrong_setups.PAGE) as url,
        place.services(BLOOMWEAVER_VECTORS=wrong_setups.pinecone(place, url)) as made,
    ):
        service = made.start("search")
        running.until(lambda: "vectors: " in str(service.get("/readyz")), what=service.log)
        deployment = processes.Deployment(place.folder)
        ended = deployment.run("doctor", "--json", "--url", f"http://127.0.0.1:{service.port}")
    assert ended.returncode != 0
    assert "vectors: " in ended.stdout
