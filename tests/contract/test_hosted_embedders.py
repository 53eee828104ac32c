"""The embedders port's contract over services elsewhere, and what their answers may be.

Doubles speak for OpenAI's shape, Ollama and Bedrock (the real ones were not asked); our own `/v1/embeddings` is real.
"""

import contextlib
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import numpy as np
import pytest

from bloomweaver.adapters.embedders import hosted, http, http_calls, loading, memory
from bloomweaver.domain import errors, models
from bloomweaver.domain import hosted as domain
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import embedders as contract
from tests.support import aws, served
from tests.support import embedding_services as services

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-multilingual-v3"


class TestOpenAiShape(contract.EmbedderContract):
    @pytest.fixture
    def embedder(self) -> hosted.HostedEmbedder:
        return services.over_http(services.Double())


class TestOurOwnEmbeddings(contract.EmbedderContract):
    """BloomWeaver as the service: its real routes, key and limits."""

    @pytest.fixture
    async def embedder(self, tmp_path: pathlib.Path) -> AsyncIterator[hosted.HostedEmbedder]:
        async with served.opened() as api:
            (tmp_path / "key").write_text(api.secret)
            inner = api.pipe.embedder
            transport = httpx2.ASGITransport(api.app)
            async with httpx2.AsyncClient(transport=transport) as client:
                wish = domain.Wish(
                    engine=domain.Engine.HTTP,
                    model=inner.spec.name,
                    dimension=inner.spec.dimension,
                    max_tokens=inner.spec.max_tokens,
                )
                wire = http.OpenAiWire(
                    client,
                    "http://test/v1",
                    model=inner.spec.name,
                    dimension=inner.spec.dimension,
                    asks_dimension=False,
                    key_file=str(tmp_path / "key"),
                )
                limits, stack = hosted.Limits(texts=64), contextlib.AsyncExitStack()
                tokenizer = memory.WordTokenizer()
                yield hosted.HostedEmbedder(domain.spec_of(wish), tokenizer, wire, limits=limits, opened=stack)


class TestOllama(contract.EmbedderContract):
    @pytest.fixture
    def embedder(self) -> hosted.HostedEmbedder:
        return services.over_ollama(services.Double())


@contextlib.asynccontextmanager
async def bedrock(double: services.Double, model: str, folder: pathlib.Path) -> AsyncIterator[Any]:
    """Opened by URL, through the SDK, against a server that speaks as the service does."""
    async with services.bedrock_server(double) as endpoint:
        dimension = {} if model == COHERE else {"dimension": "256"}
        url = aws.url(
            f"bedrock://{model}",
            region="eu-central-1",
            endpoint=endpoint,
            credentials_file=aws.credentials_file(folder),
            **dimension,
        )
        opened = await loading.open_embedder(url, models_dir=folder, threads=1)
        try:
            yield opened
        finally:
            await opened.aclose()


class TestBedrockTitan(contract.EmbedderContract):
    @pytest.fixture
    async def embedder(self, tmp_path: pathlib.Path) -> AsyncIterator[Any]:
        async with bedrock(services.Double(dimension=256), TITAN, tmp_path) as opened:
            yield opened


class TestBedrockCohere(contract.EmbedderContract):
    @pytest.fixture
    async def embedder(self, tmp_path: pathlib.Path) -> AsyncIterator[Any]:
        async with bedrock(services.Double(dimension=1024), COHERE, tmp_path) as opened:
            yield opened


async def embedded(double: services.Double, *texts: str) -> Any:
    """Over OpenAI's shape."""
    return await services.over_http(double).embed([services.passage(text) for text in texts], models.Kind.DOCUMENT)


def told(*vectors: object) -> tuple[int, Any, dict[str, str]]:
    return 200, {"data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]}, {}


GOOD = [1.0] * services.DIMENSION


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (told(GOOD[:-1]), errors.ConfigurationError, Reason.DIMENSION_MISMATCH),
        (told(GOOD, GOOD), errors.RetryableError, Reason.EMBEDDING_FAILED),
        (told("text"), errors.RetryableError, Reason.EMBEDDING_FAILED),
        (told(["a"] * services.DIMENSION), errors.RetryableError, Reason.EMBEDDING_FAILED),
        (told([GOOD]), errors.RetryableError, Reason.EMBEDDING_FAILED),
        ((200, {"data": [{"embedding": GOOD}]}, {}), errors.RetryableError, Reason.EMBEDDING_FAILED),
        ((200, [], {}), errors.RetryableError, Reason.EMBEDDING_FAILED),
        ((200, b"<html>", {}), errors.TransientError, Reason.EMBEDDER_UNAVAILABLE),
        ((301, {}, {"location": "http://elsewhere"}), errors.ConfigurationError, Reason.MODEL_NOT_USABLE),
        ((401, {}, {}), errors.ConfigurationError, Reason.CREDENTIALS_REFUSED),
        ((404, {}, {}), errors.ConfigurationError, Reason.MODEL_NOT_USABLE),
        ((400, {"error": {"message": "no"}}, {}), errors.RetryableError, Reason.EMBEDDING_FAILED),
        (
            (400, {"error": {"message": "maximum context length is 8192 tokens"}}, {}),
            errors.PermanentError,
            Reason.TEXT_TOO_LONG,
        ),
        ((500, {}, {}), errors.TransientError, Reason.EMBEDDER_UNAVAILABLE),
        ((429, {}, {}), errors.TransientError, Reason.EMBEDDER_UNAVAILABLE),
    ],
)
async def test_an_answer_that_cannot_be_believed_is_an_error_that_says_whose(
    answer: tuple[int, Any, dict[str, str]], kind: type[errors.BloomWeaverError], reason: Reason
):
    with pytest.raises(kind) as caught:
        await embedded(services.Double(answer=answer), "a secret text")
    assert caught.value.reason is reason
    assert "secret text" not in caught.value.detail


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("99999", 120.0), ("soon", 2.0)])
async def test_a_throttled_call_rests_as_long_as_it_was_told_within_bounds(header: str, seconds: float):
    with pytest.raises(errors.TransientError) as caught:
        await embedded(services.Double(answer=(429, {}, {"retry-after": header})), "a")
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), 1e300, None], ids=["not a number", "infinite", "too large", "missing"]
)
async def test_a_vector_that_is_not_finite_never_gets_out_and_its_neighbour_holds(number: float | None):
    answer = told([number, *GOOD[1:]], GOOD)
    first, second = await embedded(services.Double(answer=answer), "a", "b")
    assert np.isnan(first).all()
    assert np.linalg.norm(second) == pytest.approx(1.0)


@pytest.mark.parametrize("trouble", [httpx2.ConnectError("no"), httpx2.ReadTimeout("late"), httpx2.ReadError("cut")])
async def test_a_service_that_is_away_is_asked_again_later(trouble: Exception):
    with pytest.raises(errors.TransientError):
        await embedded(services.Double(trouble=trouble), "a")


async def test_an_answer_without_end_is_given_up():
    endless: tuple[int, Any, dict[str, str]] = (200, b" " * (http_calls.ANSWER_BYTES + 1), {})
    with pytest.raises(errors.RetryableError):
        await embedded(services.Double(answer=endless), "a")


async def test_a_key_comes_from_its_file_at_every_call(tmp_path: pathlib.Path):
    file, double = tmp_path / "key", services.Double()
    embedder = services.over_http(double, key_file=str(file))
    for key in ("first", "second"):
        file.write_text(f"{key}\n")
        await embedder.embed([services.passage("a")], models.Kind.DOCUMENT)
        assert double.headers["authorization"] == f"Bearer {key}"
    file.unlink()
    with pytest.raises(errors.ConfigurationError, match="key file"):
        await embedder.embed([services.passage("a")], models.Kind.DOCUMENT)


async def test_calls_are_of_a_bounded_size_and_ask_for_shorter_vectors_only_where_told():
    double = services.Double()
    embedder = services.over_http(double, asks_dimension=True)
    await embedder.embed([services.passage(f"text {at}") for at in range(40)], models.Kind.DOCUMENT)
    assert [len(body["input"]) for body in double.requests] == [16, 16, 8]
    assert {body["dimensions"] for body in double.requests} == {services.DIMENSION}
    await embedded(double, "a")
    assert "dimensions" not in double.requests[-1]


async def test_ollama_is_told_not_to_cut_texts():
    double = services.Double()
    await services.over_ollama(double).embed([services.passage("a")], models.Kind.QUERY)
    assert double.requests == [{"model": services.MODEL, "input": ["search_query: a"], "truncate": False}]


@pytest.mark.parametrize(
    ("code", "told_type", "message", "kind"),
    [
        (429, "ThrottlingException", "slow down", errors.TransientError),
        (429, "ModelNotReadyException", "warming", errors.TransientError),
        (408, "ModelTimeoutException", "late", errors.TransientError),
        (403, "AccessDeniedException", "no", errors.ConfigurationError),
        (404, "ResourceNotFoundException", "no such model", errors.ConfigurationError),
        (400, "ValidationException", "Too many input tokens", errors.PermanentError),
        (400, "ValidationException", "malformed", errors.RetryableError),
    ],
)
async def test_what_bedrock_refuses_is_told_apart(
    tmp_path: pathlib.Path, code: int, told_type: str, message: str, kind: type[errors.BloomWeaverError]
):
    answer = (code, {"message": message}, {"x-amzn-ErrorType": told_type})
    async with bedrock(services.Double(answer=answer), COHERE, tmp_path) as embedder:
        with pytest.raises(kind):
            await embedder.embed([services.passage("a")], models.Kind.DOCUMENT)


async def test_a_text_with_more_characters_than_the_service_takes_is_refused_here(tmp_path: pathlib.Path):
    double = services.Double(dimension=1024)
    async with bedrock(double, COHERE, tmp_path) as embedder:
        with pytest.raises(errors.PermanentError, match="characters"):
            await embedder.embed([services.passage("x" * 2049)], models.Kind.DOCUMENT)
        assert double.requests == []
        await embedder.embed([services.passage("x" + " " * 3000 + "y")], models.Kind.DOCUMENT)
    assert double.requests[0]["texts"] == ["x y"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user:pw@host/v1?model=m&dimension=3", "never holds credentials"),
        ("https://host/v1?dimension=3", "names no model"),
        ("https://host/v1?model=m", "say its dimension"),
        ("https://host/v1?model=m&dimension=0", "write a number"),
        ("https://host/v1?model=m&dimension=3&sise=4", "'sise' is no setting"),
        ("ollama://m", "say its dimension"),
        ("bedrock://m?region=eu-central-1", "that is known here"),
        (f"bedrock://{TITAN}?dimension=768", "1024, 512, 256 numbers, not 768"),
        (f"bedrock://{COHERE}?query_prefix=q", "give it no prefixes"),
    ],
)
async def test_a_url_that_is_wrong_says_what(url: str, why: str, tmp_path: pathlib.Path):
    with pytest.raises(errors.ConfigurationError, match=why):
        await loading.open_embedder(url, models_dir=tmp_path, threads=1)


def test_a_space_is_of_the_model_and_its_revision_and_not_of_the_place(tmp_path: pathlib.Path):
    def space(url: str) -> str:
        return models.space_of(loading.described(url, models_dir=tmp_path))

    here = space("https://one/v1?model=m&dimension=3")
    assert space("http://two:81/proxy/v1?model=m&dimension=3&name=other&key_file=k") == here
    others = [
        "model=n&dimension=3",
        "model=m&dimension=4",
        "model=m&dimension=3&revision=2",
        "model=m&dimension=3&query_prefix=q",
    ]
    assert len({here, *(space(f"https://one/v1?{query}") for query in others)}) == 1 + len(others)


def test_a_hosted_model_is_found_by_its_name(tmp_path: pathlib.Path):
    hosted_models = {"titan": f"bedrock://{TITAN}?region=eu-central-1"}
    spec = loading.described("titan", models_dir=tmp_path, hosted=hosted_models)
    assert (spec.name, spec.dimension, spec.max_tokens) == ("titan", 1024, 8192)
    listed = [line.spec.name for line in loading.listing(models_dir=tmp_path, hosted=hosted_models)]
    assert "titan" in listed
    assert json.dumps(listed) == json.dumps(sorted(listed))
