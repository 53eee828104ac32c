"""OpenSearch Serverless's adapter, on a real OpenSearch behind what Serverless refuses."""

import secrets
import urllib.parse

import pytest

from bloomweaver.adapters.vectors import opensearch
from bloomweaver.domain import errors
from bloomweaver.testing.contracts import vectors as contract
from tests.support import answering, serverless

SOON = {"index_patterns": ["serverless-*"], "template": {"settings": {"refresh_interval": "100ms"}}}


@pytest.fixture
async def before(opensearch_server):
    """Host and port of what refuses, and what it refused."""
    async with serverless.before(opensearch_server.url) as found:
        yield found


@pytest.fixture
async def vectors(before, opensearch_server):
    host, refused = before
    prefix = f"serverless-{secrets.token_hex(6)}"
    server = urllib.parse.urlsplit(opensearch_server.url).netloc
    behind = await opensearch.open_vectors(f"opensearch://{server}/{prefix}?tls=off")
    await behind._connection.request("PUT", "/_index_template/serverless", body=SOON)
    store = await opensearch.open_vectors(f"opensearch://{host}/{prefix}?tls=off&service=aoss&engine=lucene")
    yield store
    await store.aclose()
    await behind._connection.request("DELETE", f"/{prefix}.*")
    await behind.aclose()
    assert refused == []


class TestServerless(contract.VectorsContract):
    patience_seconds = 60.0

    async def test_what_was_written_twice_is_told_once_and_removed_whole(self, vectors):
        records = contract.random_records(5)
        for _ in range(3):
            await self.write(vectors, records)
        assert await self.ids(vectors) == sorted(each.id for each in records)
        assert await self.finds(vectors, records)
        await vectors.delete(contract.NAMESPACE, [each.id for each in records])

        async def gone() -> bool:
            return not (await vectors.query(contract.NAMESPACE, contract.unit(1), k=50)).matches

        await self.until(gone)

    async def test_more_than_a_page_is_listed_and_removed(self, vectors, monkeypatch):
        monkeypatch.setattr(opensearch, "PAGE", 3)
        records = contract.random_records(8)
        for _ in range(2):
            await self.write(vectors, records)
        assert await self.ids(vectors) == sorted(each.id for each in records)
        await vectors.drop(contract.NAMESPACE)

        async def gone() -> bool:
            return await self.ids(vectors) == []

        await self.until(gone)


async def test_requests_are_signed_for_the_service(monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    async with answering.answering(200, b'{"aggregations": {}}') as server:
        url = f"opensearch://127.0.0.1:{server.port}/p?tls=off&auth=aws&region=eu-central-1&service=aoss"
        store = await opensearch.open_vectors(url)
        await store.namespaces("")
        await store.aclose()
    head = server.heads[0].lower()
    assert "/eu-central-1/aoss/aws4_request" in head
    assert "x-amz-content-sha256: " in head


@pytest.mark.parametrize("option", ["refresh=now", "shards=1", "replicas=0"])
async def test_what_the_service_decides_itself_is_refused(option):
    with pytest.raises(errors.ConfigurationError, match="Serverless decides"):
        await opensearch.open_vectors(f"opensearch://host.example/p?auth=aws&region=eu-central-1&service=aoss&{option}")
