"""Pinecone's adapter over its wire, which lags, throttles, breaks off and lands writes late."""

import time
from typing import Any

import pytest

from bloomweaver.adapters.vectors import pinecone
from bloomweaver.domain import errors, filters
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import vectors as contract
from bloomweaver.testing.pinecone_wire import faults, service, serving
from tests.support import running

DIMENSION = contract.DIMENSION


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "api-key"
    file.write_text("pc-secret-key\n")
    return file


def make_wire(**faulty):
    """An index of the contract's dimension; keywords are faults."""
    return service.Service(
        dimension=DIMENSION, clock=time.monotonic, faults=faults.Faults(**faulty), key="pc-secret-key"
    )


@pytest.fixture
def wire():
    return make_wire()


@pytest.fixture
async def url(wire, key_file):
    async with serving.serve(wire) as host:
        yield f"pinecone://index?host={host}&key_file={key_file}"


@pytest.fixture
async def vectors(url):
    store = await pinecone.open_vectors(url)
    yield store
    await store.aclose()


class TestPinecone(contract.VectorsContract):
    """Readers see a write at once."""


class TestLaggingPinecone(contract.VectorsContract):
    """Readers see a write late, and say so."""

    patience_seconds = 60.0

    @pytest.fixture
    def wire(self):
        return make_wire(lag_seconds=0.05)


class TestPineconeWithoutPositions(contract.VectorsContract):
    """Readers see a write late, and do not say so: callers probe."""

    patience_seconds = 60.0

    @pytest.fixture
    def wire(self):
        return make_wire(lag_seconds=0.05, positions=False)

    @pytest.fixture
    async def vectors(self, url):
        store = await pinecone.open_vectors(f"{url}&positions=off")
        yield store
        await store.aclose()


async def failure(call):
    """The error that a call ends with."""
    try:
        await call
    except errors.BloomWeaverError as error:
        return error
    return None


async def opened(url):
    """The failure of the first call on that URL, the store closed again."""
    store = await pinecone.open_vectors(url)
    found = await failure(store.namespaces(""))
    await store.aclose()
    return found


async def test_the_index_is_found_by_name(wire, key_file):
    async with serving.serve(wire) as host:
        store = await pinecone.open_vectors(f"pinecone://index?controller={host}&key_file={key_file}")
        assert await store.namespaces("") == []
        await store.aclose()
    assert wire.requests["describe_index"] == 1


async def test_a_missing_index_is_named(wire, key_file):
    async with serving.serve(wire) as host:
        error = await opened(f"pinecone://other?controller={host}&key_file={key_file}")
    assert (type(error), error.reason) == (errors.ConfigurationError, Reason.INVALID_CONFIGURATION)
    assert "'other'" in error.detail


async def test_a_wrong_key_is_named_and_not_shown(wire, url, key_file):
    key_file.write_text("pc-other-key")
    error = await opened(url)
    assert (type(error), error.reason) == (errors.ConfigurationError, Reason.CREDENTIALS_REFUSED)
    assert "pc-other-key" not in error.detail


async def test_a_key_that_is_nowhere_is_a_setting_to_correct(wire, url, monkeypatch, key_file):
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    for broken in (url.partition("&key_file")[0], f"{url}-missing"):
        error = await opened(broken)
        assert (type(error), error.reason) == (errors.ConfigurationError, Reason.INVALID_CONFIGURATION)


async def test_an_index_of_another_metric_is_refused(wire, url):
    wire.metric = "dotproduct"
    error = await opened(url)
    assert (type(error), error.reason) == (errors.ConfigurationError, Reason.INVALID_CONFIGURATION)
    assert "dotproduct" in error.detail


async def test_an_index_of_another_dimension_is_refused(wire, vectors):
    wire.dimension = 16
    for call in (
        vectors.upsert(contract.NAMESPACE, contract.random_records(3)),
        vectors.query(contract.NAMESPACE, contract.unit(1), k=1),
    ):
        error = await failure(call)
        assert (type(error), error.reason) == (errors.ConfigurationError, Reason.DIMENSION_MISMATCH)


async def test_a_web_page_instead_of_an_index_is_named_at_first_and_tried_again_later(wire, url, vectors):
    await vectors.namespaces("")
    wire.faults.web_page = 1.0
    assert (await opened(url)).reason is Reason.INVALID_CONFIGURATION
    later = await failure(vectors.query(contract.NAMESPACE, contract.unit(1), k=1))
    assert (type(later), later.reason) == (errors.TransientError, Reason.VECTORS_UNAVAILABLE)


async def test_an_index_that_was_wrong_is_looked_at_again(wire, vectors):
    wire.metric = "euclidean"
    assert await failure(vectors.namespaces("")) is not None
    wire.metric = "cosine"
    assert await vectors.namespaces("") == []


async def test_a_throttled_request_is_sent_once_and_says_when_to_come_back(wire, vectors):
    await vectors.namespaces("")
    wire.faults.throttle, wire.faults.retry_after_seconds = 1.0, 7.0
    error = await failure(vectors.upsert(contract.NAMESPACE, contract.random_records(1)))
    assert (type(error), error.reason, error.retry_after_seconds) == (errors.TransientError, Reason.THROTTLED, 7.0)
    assert wire.requests["upsertVectors"] == 1


async def test_an_outage_is_met_once_per_call(wire, vectors):
    await vectors.namespaces("")
    wire.faults.unavailable = 1.0
    for operation, call in (
        ("upsertVectors", vectors.upsert(contract.NAMESPACE, contract.random_records(1))),
        ("queryVectors", vectors.query(contract.NAMESPACE, contract.unit(1), k=1)),
        ("deleteVectors", vectors.delete(contract.NAMESPACE, ["a/1/b/0"])),
    ):
        error = await failure(call)
        assert (type(error), error.reason) == (errors.TransientError, Reason.VECTORS_UNAVAILABLE)
        assert wire.requests[operation] == 1


async def test_a_server_that_is_gone_is_an_outage(key_file):
    error = await opened(f"pinecone://index?host=http://127.0.0.1:9&key_file={key_file}")
    assert (type(error), error.reason) == (errors.TransientError, Reason.VECTORS_UNAVAILABLE)


async def test_a_write_that_lands_late_lands_beside_its_repetition(wire, vectors):
    wire.faults.late, wire.faults.late_seconds = 1.0, 0.1
    records = contract.random_records(4)
    assert (await failure(vectors.upsert(contract.NAMESPACE, records))).reason is Reason.VECTORS_UNAVAILABLE
    wire.faults.late = 0.0
    await vectors.upsert(contract.NAMESPACE, records)

    async def both_landed():
        found = await vectors.query(contract.NAMESPACE, contract.unit(1), k=50)
        return found if found.position == 2 else None

    assert len((await running.eventually(both_landed)).matches) == 4


async def test_half_a_write_is_an_outage_and_mended_by_its_repetition(wire, vectors):
    wire.faults.partial = 1.0
    records = contract.random_records(4)
    assert (await failure(vectors.upsert(contract.NAMESPACE, records))).reason is Reason.VECTORS_UNAVAILABLE
    ids = [each.id for each in records]
    assert len(await vectors.present(contract.NAMESPACE, ids)) == 2
    wire.faults.partial = 0.0
    await vectors.upsert(contract.NAMESPACE, records)
    assert await vectors.present(contract.NAMESPACE, ids) == set(ids)


async def test_a_big_write_goes_in_requests_of_less_than_two_megabytes(wire, vectors):
    long: Any = {f"k{n}": "ü" * 100 for n in range(24)}
    records = [contract.record(f"doc-{n}", contract.unit(1, n), **long) for n in range(300)]
    position = await vectors.upsert(contract.NAMESPACE, records)
    assert wire.requests["upsertVectors"] == position >= 2
    assert len(await vectors.present(contract.NAMESPACE, [each.id for each in records])) == 300


async def test_an_answer_too_big_for_pinecone_comes_smaller_and_says_that_there_is_more(wire, vectors):
    long: Any = {f"k{n}": "x" * 250 for n in range(60)}
    records = [contract.record(f"doc-{n}", contract.unit(1, n), **long) for n in range(400)]
    await vectors.upsert(contract.NAMESPACE, records)
    found = await vectors.query(contract.NAMESPACE, contract.unit(1), k=400)
    assert (len(found.matches), found.more) == (pinecone.SURE_K, True)


async def test_what_is_left_in_a_namespace_that_is_no_vector_of_ours_is_not_a_match(wire, vectors):
    await vectors.upsert(contract.NAMESPACE, [contract.record("ours", contract.unit(1))])
    foreign = {"id": "theirs", "values": contract.unit(1).tolist(), "metadata": {"team": "x"}}
    wire.upsert({"vectors": [foreign], "namespace": contract.NAMESPACE}, size_bytes=100)
    found = await vectors.query(contract.NAMESPACE, contract.unit(1), k=5)
    assert [match.document_id for match in found.matches] == ["ours"]


async def test_a_filter_that_nothing_passes_is_not_sent(wire, vectors):
    where = filters.parse({"$or": [{"team": {"$in": []}}, {"$not": {"team": {"$nin": []}}}]})
    assert (await vectors.query(contract.NAMESPACE, contract.unit(1), k=5, where=where)).matches == ()
    assert wire.requests["queryVectors"] == 0


@pytest.mark.parametrize(
    "url",
    [
        "pinecone://", "pinecone://index/path", "pinecone://key@index", "pinecone://index?api_key=x",
        "pinecone://index?host=http://pinecone.example", "pinecone://index?positions=maybe",
        "pinecone://index?host=a.example&host=b.example",
    ],
)  # fmt: skip
async def test_an_address_that_is_not_clear_is_refused(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        await pinecone.open_vectors(url)
    assert caught.value.reason is Reason.INVALID_CONFIGURATION
    assert "key@" not in caught.value.detail
