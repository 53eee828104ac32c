"""OpenSearch's adapter on a real server."""

import secrets
import urllib.parse
from typing import Any

import numpy as np
import pytest

from bloomweaver.adapters.vectors import opensearch, opensearch_connection
from bloomweaver.domain import errors, filters
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import vectors as contract
from tests.support import answering, filter_cases


@pytest.fixture
def server(opensearch_server):
    return urllib.parse.urlsplit(opensearch_server.url).netloc


@pytest.fixture
async def url(server):
    prefix = f"t{secrets.token_hex(6)}"
    yield f"opensearch://{server}/{prefix}?tls=off&shards=1&replicas=0&refresh=now"
    store = await opensearch.open_vectors(f"opensearch://{server}/{prefix}?tls=off")
    await store._connection.request("DELETE", f"/{prefix}.*")
    await store.aclose()


@pytest.fixture
async def vectors(url):
    store = await opensearch.open_vectors(url)
    yield store
    await store.aclose()


class TestOpenSearch(contract.VectorsContract):
    patience_seconds = 60.0

    async def test_any_filter_means_what_the_domain_says(self, vectors):
        shapes: list[Any] = [*filter_cases.documents(40), {"z": -0.0}, {"z": 1e300}, {"z": -(2**53)}]
        records = [contract.record(f"doc-{n}", contract.unit(1, n), **fields) for n, fields in enumerate(shapes)]
        await self.write(vectors, records)
        orders = [{"z": {operator: bound}} for operator in ("$gt", "$gte", "$lt", "$lte") for bound in (0, -1.5, 2**53)]
        for where in [*filter_cases.trees(60), *map(filters.parse, orders)]:
            found = await vectors.query(contract.NAMESPACE, contract.unit(1), k=100, where=where)
            expected = {each.document_id for each in records if filters.matches(where, each.metadata)}
            assert {match.document_id for match in found.matches} == expected, filters.to_json(where)


async def failure(call):
    """The error that a call ends with."""
    try:
        await call
    except errors.BloomWeaverError as error:
        return error
    return None


async def test_a_write_that_waits_for_the_refresh_is_found_when_it_returns(url):
    store = await opensearch.open_vectors(url.replace("refresh=now", "refresh=wait"))
    records = contract.random_records(50)
    for start in (0, 25):
        await store.upsert(contract.NAMESPACE, records[start : start + 25])
        ids = {each.id for each in records[: start + 25]}
        assert await store.present(contract.NAMESPACE, sorted(ids)) == ids
    await store.aclose()


async def test_models_of_two_dimensions_live_side_by_side(vectors):
    small = contract.random_records(3)
    large = [contract.record(f"large-{n}", np.eye(16, dtype=np.float32)[n]) for n in range(3)]
    await vectors.upsert("dep.c0ffee.small", small)
    await vectors.upsert("dep.c0ffee.large", large)
    assert await vectors.namespaces("dep.") == ["dep.c0ffee.large", "dep.c0ffee.small"]
    assert len((await vectors.query("dep.c0ffee.large", large[0].vector, k=9)).matches) == 3
    await vectors.delete("dep.c0ffee.large", [each.id for each in large[:2]])
    assert await vectors.present("dep.c0ffee.large", [each.id for each in large]) == {large[2].id}
    await vectors.drop("dep.c0ffee.large")
    assert await vectors.namespaces("dep.") == ["dep.c0ffee.small"]


async def test_namespaces_beyond_a_page_are_listed(vectors, monkeypatch):
    monkeypatch.setattr(opensearch, "PAGE", 3)
    names = [f"dep.c{n}.pipe" for n in range(7)]
    for name in names:
        await vectors.upsert(name, contract.random_records(1))
    assert await vectors.namespaces("dep.") == names


async def test_a_wrong_index_of_that_name_is_refused(vectors, url):
    index = f"/{opensearch_connection.parse(url).prefix}.8"
    wrong = {"vector": {"type": "knn_vector", "dimension": 9, "method": {"name": "hnsw", "engine": "lucene"}}}
    body = {"settings": {"index": {"knn": True}}, "mappings": {"properties": wrong}}
    await vectors._connection.request("PUT", index, body=body)
    error = await failure(vectors.upsert(contract.NAMESPACE, contract.random_records(1)))
    assert (type(error), error.reason) == (errors.ConfigurationError, Reason.DIMENSION_MISMATCH)


async def test_an_item_that_is_refused_fails_the_write_and_names_why(vectors):
    await vectors.upsert(contract.NAMESPACE, contract.random_records(1))
    zero = contract.record("zero", contract.unit(1) * 0)
    error = await failure(vectors.upsert(contract.NAMESPACE, [*contract.random_records(2), zero]))
    assert (type(error), error.reason) == (errors.PermanentError, Reason.STORE_REFUSED)


async def test_a_big_write_goes_in_several_requests(vectors, monkeypatch):
    monkeypatch.setattr(opensearch, "REQUEST_BYTES", 5_000)
    records = contract.random_records(100)
    await vectors.upsert(contract.NAMESPACE, records)
    assert len(await vectors.present(contract.NAMESPACE, [each.id for each in records])) == 100


async def asked(url):
    """The failure of the first call on that URL."""
    store = await opensearch.open_vectors(url)
    found = await failure(store.namespaces(""))
    await store.aclose()
    return found


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (401, b"Unauthorized", errors.ConfigurationError, Reason.CREDENTIALS_REFUSED),
        (403, b'{"error": {"type": "security_exception"}}', errors.ConfigurationError, Reason.CREDENTIALS_REFUSED),
        (403, b'{"error": {"type": "cluster_block_exception"}}', errors.TransientError, Reason.VECTORS_UNAVAILABLE),
        (429, b'{"error": {"type": "rejected_execution"}}', errors.TransientError, Reason.THROTTLED),
        (503, b"", errors.TransientError, Reason.VECTORS_UNAVAILABLE),
        (400, b'{"error": {"type": "parse_exception"}}', errors.PermanentError, Reason.STORE_REFUSED),
        (200, b'{"_shards": {"failed": 1}}', errors.TransientError, Reason.VECTORS_UNAVAILABLE),
        (200, b"{", errors.TransientError, Reason.VECTORS_UNAVAILABLE),
    ],
)
async def test_errors_are_translated_and_a_request_is_sent_once(status, body, kind, reason):
    async with answering.answering(status, body) as server:
        error = await asked(f"opensearch://127.0.0.1:{server.port}/p?tls=off")
        assert (type(error), error.reason) == (kind, reason)
        assert len(server.heads) == 1


async def test_a_web_page_is_no_opensearch():
    async with answering.answering(200, b"<html>Welcome</html>", "text/html") as server:
        error = await asked(f"opensearch://127.0.0.1:{server.port}/p?tls=off")
    assert (type(error), error.reason) == (errors.TransientError, Reason.VECTORS_UNAVAILABLE)


async def test_a_server_that_is_gone_is_an_outage():
    error = await asked("opensearch://127.0.0.1:9/p?tls=off")
    assert (type(error), error.reason) == (errors.TransientError, Reason.VECTORS_UNAVAILABLE)


async def test_a_password_comes_from_its_file(tmp_path):
    (tmp_path / "password").write_text("s3cret\n")
    async with answering.answering(200, b'{"aggregations": {}}') as server:
        url = f"opensearch://127.0.0.1:{server.port}/p?tls=off&user=bloom&password_file={tmp_path}/password"
        assert await asked(url) is None
    assert "authorization: basic ymxvb206cznjcmv0" in server.heads[0].lower()
    assert (await asked(f"{url}-missing")).reason is Reason.INVALID_CONFIGURATION


async def test_a_certificate_file_that_is_none_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        error = await asked(f"opensearch://127.0.0.1:9/p?ca_file={tmp_path}/{name}")
        assert (type(error), error.reason) == (errors.ConfigurationError, Reason.INVALID_CONFIGURATION)


async def test_requests_are_signed_for_aws(monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "x", "SESSION_TOKEN": "token"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    async with answering.answering(200, b'{"aggregations": {}}') as server:
        assert await asked(f"opensearch://127.0.0.1:{server.port}/p?tls=off&auth=aws&region=eu-central-1") is None
    signed = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"
    assert signed in server.heads[0]
    assert "/eu-central-1/es/aws4_request" in server.heads[0]


@pytest.mark.parametrize(
    "url",
    [
        "opensearch://", "opensearch://host/UPPER", "opensearch://user:password@host/p", "opensearch://host/p?tls=maybe",
        "opensearch://host.example/p?tls=off", "opensearch://host/p?user=u", "opensearch://host/p?auth=aws",
        "opensearch://host/p?region=eu-central-1", "opensearch://host/p?service=s3&auth=aws&region=eu-central-1",
        "opensearch://host/p?shards=many", "opensearch://host/p?engine=nmslib", "opensearch://host:port/p",
    ],
)  # fmt: skip
async def test_an_address_that_is_not_clear_is_refused(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        await opensearch.open_vectors(url)
    assert caught.value.reason is Reason.INVALID_CONFIGURATION
    assert "password@" not in caught.value.detail
