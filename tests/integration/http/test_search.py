"""Search, embeddings and models over HTTP."""

import base64
import struct

import pytest

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from tests.support import served

SEARCH, EMBEDDINGS = "/v1/search", "/v1/embeddings"


async def test_a_hit_carries_its_chunk_its_place_and_its_document():
    async with served.opened() as api:
        text = "# Leave\n\n## Parental\n\nfour months of leave"
        fields = {"media_type": "text/markdown", "title": "T", "url": "https://u", "metadata": {"team": "hr"}}
        await api.index("leave-policy", text=text, **fields)
        body = (await api.post(SEARCH, json={"query": "months of leave"})).json()
        assert (body["models"], body["truncated"]) == (["mem"], False)
        assert body["took_seconds"] >= 0
        hit = body["hits"][0]
        assert (hit["collection"], hit["document_id"], hit["title"], hit["url"]) == (
            "default", "leave-policy", "T", "https://u",
        )  # fmt: skip
        assert hit["metadata"] == {"team": "hr"}
        chunk = hit["chunk"]
        assert text[chunk["start"] : chunk["end"]] == chunk["text"]
        assert chunk["heading"][0] == "Leave"
        assert -1 <= hit["score"] <= 1
        assert hit["score"] == round(hit["score"], 4)


async def test_filters_limits_scores_and_grouping_narrow_the_answer():
    async with served.opened() as api:
        for name, year in (("a", 2024), ("b", 2025), ("c", 2026)):
            await api.index(name, text="\n\n".join([f"words of {name} " * 8] * 3), metadata={"year": year})

        async def found(**question) -> list[str]:
            answer = await api.post(SEARCH, json={"query": "words of a", "limit": 100, **question})
            return [hit["document_id"] for hit in answer.json()["hits"]]

        assert set(await found(filter={"year": {"$gte": 2025}})) == {"b", "c"}
        assert set(await found(filter={"$or": [{"year": 2024}, {"year": 2026}]})) == {"a", "c"}
        assert len(await found(limit=1)) == 1
        assert sorted(await found(group_by_document=True)) == ["a", "b", "c"]
        assert len(await found(min_score=1.0)) < len(await found())


async def test_collections_are_searched_by_name_or_all_that_the_key_sees():
    async with served.opened() as api:
        await api.put("/v1/collections/other", json={})
        await api.index("a")
        await api.put("/v1/collections/other/documents/b", json={"text": "some words to find"})
        await api.settle()

        async def found(secret: str | None = None, **question) -> set[str]:
            answer = await api.post(SEARCH, json={"query": "words", **question}, secret=secret)
            return {hit["document_id"] for hit in answer.json()["hits"]}

        assert await found() == {"a", "b"}
        assert await found(collections=["other", "other"]) == {"b"}
        assert await found(collections=[]) == set()
        narrow = await api.key(collections=["other"])
        assert await found(narrow) == {"b"}
        for name, secret in (("nowhere", None), ("default", narrow)):
            answer = await api.post(SEARCH, json={"query": "x", "collections": [name]}, secret=secret)
            assert served.problem(answer)[:2] == (404, "collection_not_found")


async def test_questions_that_cannot_be_are_422_with_the_place():
    async with served.opened() as api:
        for change, reason, pointer in (
            ({"query": ""}, "invalid_request", "/query"),
            ({"query": "  "}, "invalid_request", "/query"),
            ({"query": "a\x00"}, "invalid_request", "/query"),
            ({"query": "x" * 8001}, "invalid_request", "/query"),
            ({"limit": 0}, "invalid_request", "/limit"),
            ({"limit": 101}, "invalid_request", "/limit"),
            ({"limit": "10"}, "invalid_request", "/limit"),
            ({"collections": ["c"] * 33}, "invalid_request", "/collections"),
            ({"min_score": 2}, "invalid_request", "/min_score"),
            ({"filter": {"a": {"$like": "x"}}}, "invalid_filter", "/filter/a/$like"),
            ({"filter": []}, "invalid_request", "/filter"),
            ({"filter": {"year": {"$gte": "2025"}}}, "invalid_filter", "/filter/year/$gte"),
            ({"top_k": 5}, "invalid_request", "/top_k"),
        ):
            answer = await api.post(SEARCH, json={"query": "words", **change})
            assert served.problem(answer) == (422, reason, [pointer]), change


async def test_a_search_whose_model_is_away_is_503_with_a_time_to_come_back():
    async with served.opened() as api:
        await api.index("a")

        def away(passages):
            raise errors.TransientError(Reason.EMBEDDER_UNAVAILABLE, "starting", retry_after_seconds=3.2)

        api.pipe.embedder.fault = away
        answer = await api.post(SEARCH, json={"query": "other words"})
        assert served.problem(answer)[:2] == (503, "embedder_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_searches_are_measured():
    async with served.opened() as api:
        await api.post(SEARCH, json={"query": "words"})
        labels = {"phase": "total"}
        assert api.collector.get_sample_value("bloomweaver_search_duration_seconds_count", labels) == 1


async def test_embeddings_come_in_openais_shape_as_numbers_or_base64():
    async with served.opened() as api:
        body = (await api.post(EMBEDDINGS, json={"model": "mem", "input": ["one two", "three"]})).json()
        assert (body["object"], body["model"], body["usage"]["prompt_tokens"]) == ("list", "mem", 3)
        assert [item["index"] for item in body["data"]] == [0, 1]
        vector = body["data"][0]["embedding"]
        assert abs(sum(number**2 for number in vector) - 1) < 1e-5
        asked = {"model": "mem", "input": "one two", "encoding_format": "base64", "dimensions": 8, "user": "u"}
        encoded = (await api.post(EMBEDDINGS, json=asked)).json()["data"][0]["embedding"]
        assert list(struct.unpack("<8f", base64.b64decode(encoded))) == pytest.approx(vector)


async def test_token_ids_embed_like_the_text_that_they_stand_for():
    async with served.opened() as api:
        ids = list(api.pipe.embedder.tokenizer.encode(["one two"])[0].ids)
        vectors = []
        for value in ("one two", ids, [ids]):
            answer = await api.post(EMBEDDINGS, json={"model": "mem", "input": value})
            vectors.append(answer.json()["data"][0]["embedding"])
        assert vectors[0] == vectors[1] == vectors[2]


async def test_embeddings_that_cannot_be_carry_openais_error_beside_the_problem():
    async with served.opened() as api:
        for change, reason, pointer in (
            ({"model": "gpt"}, "model_not_found", "/model"),
            ({"input": []}, "invalid_request", "/input"),
            ({"input": ""}, "invalid_request", "/input"),
            ({"input": ["a", " "]}, "invalid_request", "/input/1"),
            ({"input": ["a", 1]}, "invalid_request", "/input/1"),
            ({"input": [[1], []]}, "invalid_request", "/input/1"),
            ({"input": [[1], [True]]}, "invalid_request", "/input/1"),
            ({"input": ["a"] * 2049}, "invalid_request", "/input"),
            ({"input": [-1]}, "invalid_request", "/input"),
            ({"input": "word " * 33}, "text_too_long", "/input/0"),
            ({"input": "word " * 33, "input_type": "query"}, "text_too_long", "/input/0"),
            ({"dimensions": 4}, "invalid_request", "/dimensions"),
            ({"encoding_format": "hex"}, "invalid_request", "/encoding_format"),
            ({"input": {"a": 1}}, "invalid_request", "/input"),
        ):
            answer = await api.post(EMBEDDINGS, json={"model": "mem", "input": "words", **change})
            status, found, pointers = served.problem(answer)
            assert (status, found, pointers) == (422, reason, [pointer]), change
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", reason)
            assert error["message"]


async def test_models_are_listed_in_openais_shape():
    async with served.opened() as api:
        body = (await api.get("/v1/models")).json()
        (model,) = body["data"]
        assert (body["object"], model["object"], model["id"]) == ("list", "model", "mem")
        assert (model["dimension"], model["limit"], model["state"]) == (8, 32, "ready")
