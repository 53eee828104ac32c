"""What a client must not send: each gets the status, the reason and the place that the contract names."""

import dataclasses
import json

import pytest

from bloomweaver.domain import errors
from bloomweaver.domain.documents import Ordering
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger
from bloomweaver.runtime.web import limits
from tests.support import served

EVENTS = "/v1/events"


def body(**fields) -> bytes:
    return json.dumps({**served.event(), **fields}, ensure_ascii=False).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in served.event().items() if key != name}).encode()


NOT_STRICT_JSON = {
    "syntax": b'{"change_type": ',
    "nothing": b"",
    "NaN": b'{"metadata": {"a": NaN}}',
    "infinity": b'{"metadata": {"a": -Infinity}}',
    "overflow": b'{"metadata": {"a": 1e999}}',
    "lone surrogate": b'{"text": "\\ud800"}',
    "lone surrogate in a key": b'{"\\udc00": 1}',
    "broken UTF-8": b'{"text": "\xff"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "duplicate keys": b'{"text": "a", "text": "b"}',
    "deep nesting": served.nested(40),
    "very deep nesting": b"[" * 200_000,
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
}

WRONG_SHAPE = {
    "no object": (b"5", "invalid_request", [""]),
    "null": (b"null", "invalid_request", [""]),
    "empty array": (b"[]", "invalid_request", [""]),
    "unknown change type": (body(change_type="remove"), "invalid_request", ["/change_type"]),
    "change type of another type": (body(change_type=["insert"]), "invalid_request", ["/change_type"]),
    "missing change type": (without("change_type"), "invalid_request", ["/change_type"]),
    "missing id": (without("document_id"), "invalid_request", ["/document_id"]),
    "number as id": (body(document_id=7), "invalid_request", ["/document_id"]),
    "empty id": (body(document_id=""), "invalid_document_id", ["/document_id"]),
    "dot segment": (body(document_id="a/./b"), "invalid_document_id", ["/document_id"]),
    "dot dot segment": (body(document_id="../etc/passwd"), "invalid_document_id", ["/document_id"]),
    "control character in an id": (body(document_id="a\nb"), "invalid_document_id", ["/document_id"]),
    "C1 control character in an id": (body(document_id="a\x85b"), "invalid_document_id", ["/document_id"]),
    "NUL in an id": (body(document_id="a\x00b"), "invalid_document_id", ["/document_id"]),
    "id of 10 kB": (body(document_id="a" * 10_000), "invalid_document_id", ["/document_id"]),
    "id of 513 bytes": (body(document_id="é" * 256 + "a"), "invalid_document_id", ["/document_id"]),
    "missing text": (without("text"), "invalid_request", ["/text"]),
    "empty text": (body(text=""), "empty_text", ["/text"]),
    "white space only": (body(text=" \n\t\u2003"), "empty_text", ["/text"]),
    "NUL in the text": (body(text="a\x00b"), "invalid_request", ["/text"]),
    "number as text": (body(text=5), "invalid_request", ["/text"]),
    "unknown field": (body(colour="red"), "invalid_request", ["/colour"]),
    "field name with a slash": (body(**{"a/b": 1}), "invalid_request", ["/a~1b"]),
    "bad collection name": (body(collection="Hand Book"), "invalid_collection_name", ["/collection"]),
    "number as collection": (body(collection=1), "invalid_request", ["/collection"]),
    "source version where arrival orders": (body(source_version=1), "source_version_refused", ["/source_version"]),
    "negative source version": (body(source_version=-1), "invalid_request", ["/source_version"]),
    "source version over 63 bits": (body(source_version=2**63), "invalid_request", ["/source_version"]),
    "words as source version": (body(source_version="7a"), "invalid_request", ["/source_version"]),
    "true as source version": (body(source_version=True), "invalid_request", ["/source_version"]),
    "fraction as source version": (body(source_version=1.5), "invalid_request", ["/source_version"]),
    "other digits as source version": (body(source_version="٣"), "invalid_request", ["/source_version"]),
    "metadata that is a list": (body(metadata=[1]), "invalid_metadata", ["/metadata"]),
    "nested metadata": (body(metadata={"a": {"b": 1}}), "invalid_metadata", ["/metadata/a"]),
    "null in metadata": (body(metadata={"a": None}), "invalid_metadata", ["/metadata/a"]),
    "mixed list in metadata": (body(metadata={"a": ["x", 1]}), "invalid_metadata", ["/metadata/a/1"]),
    "bad metadata key": (body(metadata={"1a": 1}), "invalid_metadata", ["/metadata/1a"]),
    "65 metadata keys": (body(metadata={f"k{i}": 1 for i in range(65)}), "invalid_metadata", ["/metadata"]),
    "17 kB of metadata": (body(metadata={"a": "x" * 17_000}), "invalid_metadata", ["/metadata"]),
    "integer over 2^53": (body(metadata={"a": 2**53 + 1}), "invalid_request", ["/metadata/a"]),
    "NUL in metadata": (body(metadata={"a": "\x00"}), "invalid_metadata", ["/metadata/a"]),
    "NUL in the title": (body(title="a\x00"), "invalid_request", ["/title"]),
    "long title": (body(title="a" * 2001), "invalid_request", ["/title"]),
    "line break in the url": (body(url="https://a\r\nb"), "invalid_request", ["/url"]),
    "time without a zone": (body(occurred_at="2026-11-21T09:00:00"), "invalid_request", ["/occurred_at"]),
    "time that never is": (body(occurred_at="2026-02-30T09:00:00Z"), "invalid_request", ["/occurred_at"]),
    "empty event id": (body(event_id=""), "invalid_request", ["/event_id"]),
    "long event id": (body(event_id="e" * 513), "invalid_request", ["/event_id"]),
    "control character in a batch id": (body(batch_id="a\tb"), "invalid_request", ["/batch_id"]),
}


async def test_what_is_not_strict_json_is_400_and_stores_nothing():
    async with served.opened() as api:
        for name, sent in NOT_STRICT_JSON.items():
            assert served.problem(await api.send(sent))[:2] == (400, "malformed_json"), name
        assert await api.stored() == []


async def test_json_of_the_wrong_shape_is_422_names_the_field_and_stores_nothing():
    async with served.opened() as api:
        for name, (sent, reason, pointers) in WRONG_SHAPE.items():
            assert served.problem(await api.send(sent)) == (422, reason, pointers), name
        assert await api.stored() == []


async def test_an_unknown_collection_is_404():
    async with served.opened() as api:
        answer = await api.send(body(collection="nowhere"))
        assert served.problem(answer)[:2] == (404, "collection_not_found")


async def test_an_unknown_media_type_is_415_for_the_item():
    async with served.opened() as api:
        answer = await api.send(body(media_type="application/pdf"))
        assert served.problem(answer) == (415, "unsupported_media_type", ["/media_type"])


async def test_a_content_type_that_is_missing_or_unknown_is_415():
    async with served.opened() as api:
        for content_type in (None, "text/plain", "application/xml", "application/json; charset=latin-1"):
            answer = await api.send(body(), content_type)
            assert served.problem(answer)[:2] == (415, "unsupported_media_type"), content_type
        assert await api.stored() == []


async def test_any_content_encoding_is_415():
    async with served.opened() as api:
        for encoding in ("gzip", "identity", "br"):
            answer = await api.send(body(), headers={"content-encoding": encoding})
            assert served.problem(answer)[:2] == (415, "unsupported_encoding"), encoding
        assert await api.stored() == []


async def test_a_text_over_the_limit_is_413():
    async with served.opened() as api:
        answer = await api.send(body(text="é" * (5 * 1024 * 1024 + 1)))
        assert served.problem(answer) == (413, "too_large", ["/text"])
        assert await api.stored() == []


async def test_one_event_over_12_mb_is_413_and_several_may_be_more():
    async with served.opened() as api:
        big = body(text="x" * limits.ONE_EVENT_BYTES)
        assert served.problem(await api.send(big))[:2] == (413, "too_large")
        answer = await api.send(b"[" + big + b"," + body(document_id="b") + b"]")
        assert answer.status_code == 202
        assert answer.json()["results"][0]["error"]["reason"] == "too_large"
        assert await api.stored() == ["b"]


async def test_several_events_over_64_mb_are_413():
    async with served.opened() as api:
        headers = {"content-length": str(limits.SEVERAL_EVENTS_BYTES + 1)}
        assert served.problem(await api.send(b"[]", headers=headers))[:2] == (413, "too_large")


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
async def test_more_than_1000_items_are_413(content_type):
    async with served.opened() as api:
        separator = b"," if content_type == "application/json" else b"\n"
        items = separator.join([body()] * 1001)
        sent = b"[" + items + b"]" if content_type == "application/json" else items
        assert served.problem(await api.send(sent, content_type))[:2] == (413, "too_many_items")
        assert await api.stored() == []


async def test_html_without_text_is_a_document_of_no_chunks_and_no_failure():
    async with served.opened() as api:
        await api.send(body(text="<p><img src=x></p>", media_type="text/html"))
        await api.settle()
        document = (await api.get(f"{served.HANDBOOK}/a")).json()
        assert (document["state"], document["chunk_count"], document["reason"]) == ("searchable", 0, "no_text")


async def test_a_wait_that_cannot_be_is_422_before_anything_is_stored():
    async with served.opened() as api:
        times = [f"wait=searchable&timeout={timeout}" for timeout in ("0", "61", "x", "1e1")]
        for query in ("wait=embedded", "wait=", "timeout=5", "wiat=searchable", *times):
            assert served.problem(await api.post(f"{EVENTS}?{query}", json=served.event()))[0] == 422, query
        assert await api.stored() == []


async def test_a_header_id_that_cannot_be_is_422():
    async with served.opened() as api:
        for header in ("webhook-id", "idempotency-key"):
            for value in ("", "x" * 257, "caf\u00e9"):
                answer = await api.send(body(), headers={header: value.encode("utf-8")})
                assert served.problem(answer)[:2] == (422, "invalid_request"), value


async def test_paths_with_ids_that_cannot_be_are_422():
    async with served.opened() as api:
        for path in ("%2E%2E", "a%2F..%2Fb", "a%00b", "a" * 513, "%FF"):
            answer = await api.get(f"{served.HANDBOOK}/{path}")
            assert served.problem(answer)[:2] == (422, "invalid_document_id"), path
        answer = await api.get("/v1/collections/Hand%20Book")
        assert served.problem(answer)[:2] == (422, "invalid_collection_name")


async def test_lists_refuse_bad_limits_and_cursors():
    async with served.opened() as api:
        for query, reason in (
            ("limit=0", "invalid_request"), ("limit=1001", "invalid_request"), ("limit=x", "invalid_request"),
            ("cursor=abc", "invalid_cursor"), ("state=gone", "invalid_request"), ("since=monday", "invalid_request"),
            ("colour=red", "invalid_request"),
        ):  # fmt: skip
            assert served.problem(await api.get(f"{served.HANDBOOK}?{query}"))[:2] == (422, reason), query
        for path in ("/v1/collections", "/v1/keys", "/v1/dead-letters", f"{served.HANDBOOK}/a/chunks"):
            assert served.problem(await api.get(f"{path}?cursor=!"))[:2] == (422, "invalid_cursor"), path


async def test_credentials_are_checked_before_anything_else():
    async with served.opened() as api:
        for secret in ("", "bw_wrong", "bw_aaaaaaaa_" + "x" * 43):
            answer = await api.send(b"{broken", secret=secret)
            assert served.problem(answer)[:2] == (401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_without_the_verb_is_403_and_verbs_do_not_include_each_other():
    async with served.opened() as api:
        needs = {
            "read": [("GET", served.HANDBOOK), ("GET", "/v1/collections"), ("POST", "/v1/search")],
            "write": [("POST", EVENTS), ("PUT", f"{served.HANDBOOK}/a"), ("POST", "/v1/dead-letters/redrive")],
            "admin": [("PUT", "/v1/collections/x"), ("GET", "/v1/keys"), ("PUT", "/v1/sources/s")],
        }
        for verb, calls in needs.items():
            others = await api.key(verbs=[name for name in served.ALL if name != verb])
            for method, path in calls:
                answer = await api.call(method, path, json={}, secret=others)
                assert served.problem(answer)[:2] == (403, "forbidden"), (method, path)


async def test_what_is_another_tenants_or_outside_the_globs_answers_as_if_it_were_not_there():
    async with served.opened() as api:
        await api.index("a")
        stranger = await api.key(tenant="globex")
        narrow = await api.key(collections=["hr-*"])
        for secret in (stranger, narrow):
            for method, path in (
                ("GET", f"{served.HANDBOOK}/a"), ("DELETE", f"{served.HANDBOOK}/a"), ("GET", served.HANDBOOK),
                ("GET", "/v1/collections/default"), ("DELETE", "/v1/collections/default?confirm=default"),
                ("GET", f"{served.HANDBOOK}/a/why"), ("POST", f"{served.HANDBOOK}/a/retry"),
                ("GET", "/v1/collections/default/reindex"), ("POST", "/v1/collections/default/reindex/promote"),
            ):  # fmt: skip
                answer = await api.call(method, path, secret=secret)
                assert served.problem(answer)[:2] == (404, "collection_not_found"), (method, path)
            answer = await api.post(EVENTS, json=served.event(), secret=secret)
            assert served.problem(answer)[:2] == (404, "collection_not_found")
            assert (await api.get("/v1/collections", secret=secret)).json()["items"] == []
            search = await api.post("/v1/search", json={"query": "words"}, secret=secret)
            assert search.json()["hits"] == []


async def test_a_missing_route_or_method_says_so():
    async with served.opened() as api:
        assert served.problem(await api.get("/v1/nothing"))[:2] == (404, "not_found")
        answer = await api.get(EVENTS)
        assert served.problem(answer)[:2] == (405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


async def test_a_source_version_may_be_any_63_bits_even_as_a_number():
    async with served.opened(ordering=Ordering.SOURCE) as api:
        answer = await api.send(body(source_version=2**63 - 1))
        assert answer.status_code == 202


class FullDisk:
    """A ledger whose disk has no room left."""

    def __init__(self, inner: ledger.Ledger) -> None:
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def accept(self, changes):
        raise errors.TransientError(Reason.DISK_FULL, "No room is left.", retry_after_seconds=5.0)


async def test_a_full_disk_is_503_with_a_time_to_come_back():
    def wrap(store):
        return dataclasses.replace(
            store, database=dataclasses.replace(store.database, ledger=FullDisk(store.database.ledger))
        )

    async with served.opened(wrap=wrap) as api:
        for sent in (body(), b"[" + body() + b"]"):
            answer = await api.send(sent)
            assert served.problem(answer)[:2] == (503, "disk_full")
            assert answer.headers["retry-after"] == "5"
