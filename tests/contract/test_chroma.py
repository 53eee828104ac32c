"""Chroma's adapter, in this process and on a real server."""

import urllib.parse
from typing import Any

import numpy as np
import pytest

from bloomweaver.adapters.vectors import chroma
from bloomweaver.domain import errors, filters
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import vectors as contract
from tests.support import answering, filter_cases


class ChromaContract(contract.VectorsContract):
    async def test_any_filter_means_what_the_domain_says(self, vectors):
        shapes: list[Any] = [*filter_cases.documents(40), {"z": -0.0}, {"z": 1e300}, {"z": -(2**53)}]
        records = [contract.record(f"doc-{n}", contract.unit(1, n), **fields) for n, fields in enumerate(shapes)]
        await self.write(vectors, records)
        orders = [{"z": {operator: bound}} for operator in ("$gt", "$gte", "$lt", "$lte") for bound in (0, -1.5, 2**53)]
        for where in [*filter_cases.trees(60), *map(filters.parse, orders)]:
            found = await vectors.query(contract.NAMESPACE, contract.unit(1), k=100, where=where)
            expected = {each.document_id for each in records if filters.matches(where, each.metadata)}
            assert {match.document_id for match in found.matches} == expected, filters.to_json(where)

    async def test_ids_may_be_deleted_while_they_are_listed(self, vectors, monkeypatch):
        monkeypatch.setattr(chroma, "PAGE", 10)
        await self.write(vectors, contract.random_records(35))
        async for page in vectors.ids(contract.NAMESPACE):
            await vectors.delete(contract.NAMESPACE, page)
        assert await self.ids(vectors) == []

    async def test_a_namespace_that_others_made_anew_is_found_again(self, vectors, other):
        await self.write(vectors, contract.random_records(3))
        await other.drop(contract.NAMESPACE)
        assert await self.finds(vectors, [])
        await other.upsert(contract.NAMESPACE, contract.random_records(2, seed=1))
        assert await self.finds(vectors, contract.random_records(2, seed=1))
        await other.drop(contract.NAMESPACE)
        await self.write(vectors, contract.random_records(1))

    async def test_another_dimension_is_a_setting_to_correct(self, vectors):
        await self.write(vectors, contract.random_records(1))
        longer = contract.record("longer", np.ones(9, np.float32))
        for call in (
            vectors.upsert(contract.NAMESPACE, [longer]),
            vectors.query(contract.NAMESPACE, longer.vector, k=1),
        ):
            error = await failure(call)
            assert (type(error), error.reason) == (errors.ConfigurationError, Reason.DIMENSION_MISMATCH)


class TestChromaInThisProcess(ChromaContract):
    @pytest.fixture
    async def vectors(self, tmp_path):
        store = await chroma.open_vectors(f"chroma://{tmp_path}/data")
        yield store
        await store.aclose()

    @pytest.fixture
    def other(self, vectors):
        return chroma.ChromaVectors(vectors._engine)


class TestChromaServer(ChromaContract):
    @pytest.fixture
    def url(self, chroma_server):
        return f"chroma://{urllib.parse.urlsplit(chroma_server.url).netloc}?tls=off"

    @pytest.fixture
    async def vectors(self, url):
        store = await chroma.open_vectors(url)
        yield store
        for name in await store.namespaces(""):
            await store.drop(name)
        await store.aclose()

    @pytest.fixture
    async def other(self, url):
        store = await chroma.open_vectors(url)
        yield store
        await store.aclose()

    async def test_a_database_that_is_not_there_is_a_setting_to_correct(self, url):
        store = await chroma.open_vectors(f"{url}&database=missing")
        error = await failure(store.upsert(contract.NAMESPACE, contract.random_records(1)))
        await store.aclose()
        assert (type(error), error.reason) == (errors.ConfigurationError, Reason.INVALID_CONFIGURATION)


async def failure(call):
    """The error that a call ends with."""
    try:
        await call
    except errors.BloomWeaverError as error:
        return error
    return None


async def asked(url):
    """The failure of the first call on that URL."""
    store = await chroma.open_vectors(url)
    found = await failure(store.namespaces(""))
    await store.aclose()
    return found


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (401, b"", errors.ConfigurationError, Reason.CREDENTIALS_REFUSED),
        (404, b"<html>", errors.ConfigurationError, Reason.INVALID_CONFIGURATION),
        (429, b"", errors.TransientError, Reason.THROTTLED),
        (503, b"", errors.TransientError, Reason.VECTORS_UNAVAILABLE),
        (400, b"", errors.PermanentError, Reason.STORE_REFUSED),
        (200, b"<html>", errors.TransientError, Reason.VECTORS_UNAVAILABLE),
    ],
)
async def test_errors_are_translated_and_a_request_is_sent_once(status, body, kind, reason):
    async with answering.answering(status, body) as server:
        error = await asked(f"chroma://127.0.0.1:{server.port}?tls=off")
        assert (type(error), error.reason) == (kind, reason)
        assert len(server.heads) == 1


async def test_a_server_that_is_gone_is_an_outage():
    error = await asked("chroma://127.0.0.1:9?tls=off")
    assert (type(error), error.reason) == (errors.TransientError, Reason.VECTORS_UNAVAILABLE)


async def test_a_token_comes_from_its_file(tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    async with answering.answering(200, b"[]") as server:
        url = f"chroma://127.0.0.1:{server.port}?tls=off&token_file={tmp_path}/token"
        assert await asked(url) is None
    assert "authorization: Bearer s3cret" in server.heads[0]
    assert (await asked(f"{url}-missing")).reason is Reason.INVALID_CONFIGURATION


async def test_a_folder_that_cannot_be_made_is_a_setting_to_correct(tmp_path):
    (tmp_path / "file").write_text("no folder")
    error = await asked(f"chroma://{tmp_path}/file/data")
    assert (type(error), error.reason) == (errors.ConfigurationError, Reason.INVALID_CONFIGURATION)


@pytest.mark.parametrize(
    "url",
    ["chroma://", "chroma:///", "chroma:///folder?tls=off", "chroma://host/path", "chroma://host?tls=maybe",
     "chroma://host.example?tls=off", "chroma://token@host", "chroma://host?token=x"],
)  # fmt: skip
async def test_an_address_that_is_not_clear_is_refused(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        await chroma.open_vectors(url)
    assert caught.value.reason is Reason.INVALID_CONFIGURATION
