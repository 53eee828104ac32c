"""Stores that are set up wrongly, met by whole processes: one clear line and code 78, or unready with the reason.

Never a crash without a reason, never a retry for ever in silence, never a wrong answer.
"""

import asyncio
import contextlib
import dataclasses
import pathlib
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from bloomweaver.adapters import opening
from bloomweaver.adapters.engines.aws import addresses, clients
from bloomweaver.domain import credentials, identity, reasons
from bloomweaver.ports import registry
from tests.integration.cli import processes
from tests.storm import servers
from tests.support import answering, aws, running

PAGE = b"<html><body>Welcome to nginx</body></html>"
DIMENSION = 8


@dataclasses.dataclass(frozen=True)
class Place:
    """A database that holds our tables, and how to start processes over it."""

    url: str
    folder: pathlib.Path

    @contextlib.contextmanager
    def services(self, *, store: str | None = None, **extra: str) -> Iterator[running.Services]:
        with running.Services(self.folder, store=store or self.url, extra=extra) as made:
            yield made

    def refused(self, name: str = "writer", *, store: str | None = None, **extra: str) -> dict[str, Any]:
        """The one line of a process that ends with code 78."""
        with self.services(store=store, **extra) as made:
            service = made.start(name)
            assert service.process.wait(timeout=60) == 78, service.log.read_text()
            told = service.lines()
        assert "Traceback" not in str(told)
        (line,) = [line for line in told if line["event"] == "cannot_run"]
        assert line["what"]
        assert line["why"]
        assert line["next"]
        return line

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"SET search_path TO bloomweaver, public; {statement}".encode())


@pytest.fixture
def place(postgresql_store_url: str, tmp_path: pathlib.Path) -> Place:
    return Place(postgresql_store_url, tmp_path)


def other(url: str, *, user: str = "postgres", database: str | None = None) -> str:
    parts = urllib.parse.urlsplit(url)
    netloc = f"{user}@{parts.netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc, path=f"/{database}" if database else parts.path).geturl()


def test_a_wrong_password_of_the_database(place: Place):
    line = place.refused(BLOOMWEAVER_POSTGRESQL_PASSWORD="open sesame")
    assert line["reason"] == "credentials_refused"
    assert "open sesame" not in str(line)


def test_a_database_that_is_not_there(place: Place):
    line = place.refused(store=other(place.url, database="no_such_database"))
    assert line["reason"] == "credentials_refused"
    assert "no_such_database" in line["why"]


def test_a_database_without_our_tables(place: Place, postgresql_url: str):
    assert "bloomweaver migrate" in place.refused(store=postgresql_url)["why"]


@pytest.mark.parametrize(
    ("statement", "reason", "words"),
    [
        ("DELETE FROM schema_migration WHERE component = 'vectors'", "invalid_configuration", "bloomweaver migrate"),
        (
            "INSERT INTO schema_migration (component, version, script) VALUES ('ledger', 999, 'later.sql')",
            "schema_too_new",
            "newer than this release",
        ),
    ],
    ids=["older", "newer"],
)
def test_a_schema_of_another_release(place: Place, statement: str, reason: str, words: str):
    place.execute(statement)
    line = place.refused()
    assert line["reason"] == reason
    assert words in line["why"]


def test_a_bucket_that_is_not_there(place: Place, versitygw_server):
    file = versitygw_server.env["AWS_SHARED_CREDENTIALS_FILE"]
    url = aws.url("s3://no-such-bucket/prod", region="us-east-1", endpoint=versitygw_server.url, credentials_file=file)
    assert "no-such-bucket" in place.refused(BLOOMWEAVER_BLOBS=url)["why"]


def test_credentials_that_the_object_store_does_not_take(place: Place, versitygw_server):
    settings = {"region": "us-east-1", "endpoint": versitygw_server.url}
    file = versitygw_server.env["AWS_SHARED_CREDENTIALS_FILE"]
    asyncio.run(made_bucket("wrong-setups", addresses.Access(**settings, credentials_file=file)))
    wrong = aws.credentials_file(place.folder, secret_key="wrong")
    url = aws.url("s3://wrong-setups/prod", **settings, credentials_file=wrong)
    assert place.refused(BLOOMWEAVER_BLOBS=url)["reason"] == "credentials_refused"


async def made_bucket(bucket: str, access: addresses.Access) -> None:
    async with clients.open_calls("s3", access, what="S3", unavailable=reasons.Reason.BLOBS_UNAVAILABLE) as calls:
        await calls.call("create_bucket", {"Bucket": bucket})


def test_a_table_that_is_not_there(place: Place, dynamodb_server):
    file = aws.credentials_file(place.folder)
    url = aws.url("dynamodb://no-such-table", region="us-east-1", endpoint=dynamodb_server.url, credentials_file=file)
    blobs = (place.folder / "blobs").as_uri()
    vectors = queues = f"sqlite:///{place.folder}/rest.db"
    line = place.refused(store=url, BLOOMWEAVER_BLOBS=blobs, BLOOMWEAVER_VECTORS=vectors, BLOOMWEAVER_QUEUES=queues)
    assert "no-such-table" in line["why"]
    assert "bloomweaver migrate" in line["why"]


@contextlib.contextmanager
def answered(status: int, body: bytes, content_type: str = "text/html") -> Iterator[str]:
    """The URL of a server that gives every request this answer, beside the test."""
    started, ended = threading.Event(), threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        async with answering.answering(status, body, content_type) as given:
            port = given.port
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join()


def unready(place: Place, part: str, name: str = "writer", **extra: str) -> str:
    """What readiness says of a store that cannot be used; the process lives, answers, and has no fault of its own."""
    with place.services(**extra) as made:
        service = made.start(name)

        def told() -> bool:
            return service.get("/readyz")[0] == 503 and any(
                line.startswith(f"{part}: ") for line in service.get("/readyz")[1]["obstacles"]
            )

        running.until(told, what=service.log)
        assert service.get("/healthz")[0] == 200
        (sentence,) = [line for line in service.get("/readyz")[1]["obstacles"] if line.startswith(f"{part}: ")]
        assert service.process.poll() is None
        assert "Traceback" not in service.log.read_text()
    return str(sentence)


def pinecone(place: Place, url: str) -> str:
    key = place.folder / "api-key"
    key.write_text("any")
    return f"pinecone://index?controller={url}&key_file={key}"


@pytest.mark.parametrize("scheme", ["pinecone", "opensearch", "sqs"])
def test_a_store_that_answers_with_a_web_page(place: Place, scheme: str):
    with answered(200, PAGE) as url:
        file = aws.credentials_file(place.folder)
        variable, value = {
            "pinecone": ("VECTORS", pinecone(place, url)),
            "opensearch": ("VECTORS", f"{url.replace('http:', 'opensearch:')}?tls=off"),
            "sqs": ("QUEUES", aws.url("sqs://us-east-1/bloom", endpoint=url, credentials_file=file)),
        }[scheme]
        sentence = unready(place, variable.lower(), **{f"BLOOMWEAVER_{variable}": value})
    assert "invalid_configuration" in sentence or "unavailable" in sentence


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "AccessDenied"])
def test_credentials_or_rights_that_the_queues_refuse(place: Place, code: str):
    body = f'{{"__type": "com.amazonaws.sqs#{code}", "message": "no"}}'.encode()
    with answered(403, body, "application/x-amz-json-1.0") as url:
        file = aws.credentials_file(place.folder)
        queues = aws.url("sqs://us-east-1/bloom", endpoint=url, credentials_file=file)
        assert "credentials_refused" in unready(place, "queues", BLOOMWEAVER_QUEUES=queues)


def test_an_index_of_another_metric(place: Place):
    double = servers.Double("tests.storm.pinecone", "--metric=dotproduct")
    double.start()
    try:
        sentence = unready(place, "vectors", BLOOMWEAVER_VECTORS=pinecone(place, double.url))
    finally:
        double.kill()
    assert "invalid_configuration" in sentence


@pytest.fixture
def key(place: Place) -> str:
    """That may do everything."""

    async def added() -> str:
        nonces = opening.system_nonces()
        made = credentials.new_key(nonces.secret)
        verbs = frozenset(verb.value for verb in credentials.Verb)
        async with opening.open_store(opening.profile(place.url), clock=opening.system_clock(), nonces=nonces) as store:
            await store.database.registry.add_key(
                registry.StoredKey(
                    id=made.id,
                    tenant=identity.TenantId("default"),
                    name="test",
                    hash=made.hash,
                    verbs=verbs,
                    collections=("*",),
                    created_at=0.0,
                )
            )
        return made.secret

    return asyncio.run(added())


def call(service: running.Service, key: str, method: str, path: str, **options: Any) -> Any:
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.request(method, f"http://127.0.0.1:{service.port}{path}", headers=headers, timeout=60, **options)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


@pytest.mark.timeout(150)
def test_an_index_of_another_dimension_holds_what_it_cannot_take_and_loses_nothing(place: Place, key: str):
    double = servers.Double("tests.storm.pinecone", f"--dimension={DIMENSION * 2}")
    double.start()
    try:
        with place.services(BLOOMWEAVER_VECTORS=pinecone(place, double.url)) as made:
            webhook, writer = made.start("webhook"), made.start("writer")
            made.start("embedder")
            made.until_ready()
            call(webhook, key, "PUT", "/v1/collections/default/documents/a", json={"text": "apples"})
            running.until(lambda: writer.get("/readyz")[0] == 503, what=writer.log)
            assert "dimension_mismatch" in str(writer.get("/readyz")[1]["obstacles"])
            counts = call(webhook, key, "GET", "/v1/status")["counts"]
            assert counts.get("failed", 0) == 0
            assert sum(counts.get(state, 0) for state in ("pending", "indexing")) == 1
            told = writer.log.read_text()
            assert str(DIMENSION * 2) in told
            assert "Traceback" not in told
    finally:
        double.kill()


@pytest.mark.timeout(150)
def test_a_namespace_that_was_deleted_by_hand_is_named_by_the_audit_and_repaired(place: Place, key: str):
    with place.services() as made:
        webhook, search, reconciler = (made.start(name) for name in ("webhook", "search", "reconciler"))
        made.start("embedder")
        made.start("writer")
        made.until_ready()
        path = "/v1/collections/default/documents/a?wait=searchable&timeout=60"
        call(webhook, key, "PUT", path, json={"text": "apples and pears"})
        with psycopg.connect(place.url, autocommit=True) as connection:
            connection.execute("SET search_path TO bloomweaver, public")
            for (number,) in connection.execute("DELETE FROM vector_namespace RETURNING id").fetchall():
                connection.execute(f"DROP TABLE vectors_{number}".encode())
        found = call(reconciler, key, "POST", "/v1/audit", json={})
        assert (found["clean"], found["lost"]) == (False, 1)
        repaired = call(reconciler, key, "POST", "/v1/audit", json={"repair": True})
        assert repaired["repaired"] == 1
        assert call(reconciler, key, "POST", "/v1/audit", json={})["clean"]
        hits = call(search, key, "POST", "/v1/search", json={"query": "apples"})["hits"]
        assert [hit["document_id"] for hit in hits] == ["a"]


def test_the_doctor_names_the_store_that_is_away(place: Place):
    with answered(200, PAGE) as url, place.services(BLOOMWEAVER_VECTORS=pinecone(place, url)) as made:
        service = made.start("search")
        running.until(lambda: "vectors: " in str(service.get("/readyz")), what=service.log)
        deployment = processes.Deployment(place.folder)
        ended = deployment.run("doctor", "--json", "--url", f"http://127.0.0.1:{service.port}")
    assert ended.returncode != 0
    assert "vectors: " in ended.stdout
