"""Documents by their id: written, read, listed, deleted, retried, and why they are as they are."""

import asyncio
import json

from bloomweaver.domain import errors
from bloomweaver.domain.documents import Ordering
from bloomweaver.domain.reasons import Reason
from tests.support import served

A = f"{served.HANDBOOK}/a"


def _refuse(passages):
    raise errors.PermanentError(Reason.EMBEDDING_FAILED, "the model said no")


async def test_put_makes_get_shows_and_etag_is_the_seq():
    async with served.opened() as api:
        sent = {"text": "# Leave", "media_type": "text/markdown", "title": "T", "url": "https://x/y", "origin": "docs"}
        made = await api.put(A, json={**sent, "metadata": {"team": "hr", "tags": ["a", "b"]}})
        assert (made.status_code, made.json()["outcome"]) == (202, "created")
        assert made.headers["etag"] == f'"{made.json()["seq"]}"'
        await api.settle()
        shown = await api.get(A)
        body = shown.json()
        assert shown.headers["etag"] == made.headers["etag"]
        assert (body["state"], body["title"], body["url"], body["media_type"]) == (
            "searchable", "T", "https://x/y", "text/markdown",
        )  # fmt: skip
        assert body["metadata"] == {"team": "hr", "tags": ["a", "b"]}
        assert (body["chunk_count"], body["model"], body["size_bytes"], body["origin"]) == (1, "mem", 7, "docs")


async def test_put_takes_a_raw_body_with_its_media_type():
    async with served.opened() as api:
        query = "?title=Caf%C3%A9&url=https://x&origin=here"
        answer = await api.put(A + query, content=b"# Hi", headers={"content-type": "text/markdown; charset=utf-8"})
        assert answer.status_code == 202
        body = (await api.get(A)).json()
        assert (body["title"], body["media_type"], body["origin"]) == ("Café", "text/markdown", "here")
        bad = await api.put(A, content=b"\xff", headers={"content-type": "text/plain"})
        assert served.problem(bad)[:2] == (422, "unparsable")
        unknown = await api.put(A, content=b"x", headers={"content-type": "application/pdf"})
        assert served.problem(unknown)[:2] == (415, "unsupported_media_type")


async def test_put_waits_until_it_is_searchable():
    async with served.opened() as api:
        waiting = asyncio.create_task(api.put(A + "?wait=searchable", json={"text": "words"}))
        await api.until_stored()
        await api.settle()
        answer = await waiting
        assert (answer.status_code, answer.json()["state"]) == (200, "searchable")


async def test_ids_with_slashes_and_other_letters_are_addressed_encoded():
    async with served.opened() as api:
        for encoded, document_id in (
            ("a%2Fb", "a/b"),
            ("%C3%A9t%C3%A9", "été"),
            ("a%20b%3F%23", "a b?#"),
            ("a%252F", "a%2F"),
        ):
            made = (await api.put(f"{served.HANDBOOK}/{encoded}", json={"text": "x"})).json()
            assert made["document_id"] == document_id
            assert (await api.get(made["status_url"])).json()["document_id"] == document_id


async def test_if_none_match_inserts_only_and_a_tombstone_counts_as_absent():
    async with served.opened() as api:
        only = {"if-none-match": "*"}
        assert (await api.put(A, json={"text": "x"}, headers=only)).status_code == 202
        again = await api.put(A, json={"text": "y"}, headers=only)
        assert served.problem(again)[:2] == (412, "precondition_failed")
        await api.delete(A)
        assert (await api.put(A, json={"text": "z"}, headers=only)).json()["outcome"] == "created"


async def test_if_match_guards_put_patch_and_delete_against_lost_updates():
    async with served.opened() as api:
        old = (await api.put(A, json={"text": "x"})).headers["etag"]
        new = (await api.put(A, json={"text": "y"}, headers={"if-match": old})).headers["etag"]
        for call in (
            api.put(A, json={"text": "z"}, headers={"if-match": old}),
            api.patch(A, json={"title": "z"}, headers={"if-match": old}),
            api.delete(A, headers={"if-match": old}),
        ):
            assert served.problem(await call)[:2] == (412, "precondition_failed")
        assert (await api.delete(A, headers={"if-match": new})).status_code == 200


async def test_a_precondition_that_cannot_be_is_422():
    async with served.opened() as api:
        for value in ("5", '"x"', 'W/"5"', '"1", "2"', "*"):
            assert served.problem(await api.put(A, json={"text": "x"}, headers={"if-match": value}))[0] == 422, value
        wrong = await api.put(A, json={"text": "x"}, headers={"if-none-match": '"5"'})
        assert served.problem(wrong)[0] == 422
        assert await api.stored() == []


async def test_an_idempotency_key_gives_the_stored_answer_on_every_write():
    async with served.opened() as api:
        key = {"idempotency-key": "k1"}
        first = (await api.put(A, json={"text": "x"}, headers=key)).json()
        again = (await api.put(A, json={"text": "x"}, headers=key)).json()
        assert (again["outcome"], again["original_outcome"], again["seq"]) == ("duplicate", "created", first["seq"])
        await api.patch(A, json={"title": "t"}, headers={"idempotency-key": "k2"})
        patched = await api.patch(A, json={"title": "t"}, headers={"idempotency-key": "k2"})
        assert patched.json()["original_outcome"] == "metadata_only"
        await api.delete(A, headers={"idempotency-key": "k3"})
        deleted = await api.delete(A, headers={"idempotency-key": "k3"})
        assert (deleted.status_code, deleted.json()["original_outcome"]) == (200, "deleted")
        other = await api.put(A, json={"text": "other"}, headers=key)
        assert served.problem(other)[:2] == (422, "event_id_reused")


async def test_patch_merges_and_embeds_nothing():
    async with served.opened() as api:
        await api.index("a", title="T", metadata={"team": "hr", "year": 2026})
        before = (await api.get(A)).json()
        api.pipe.embedder.fault = _refuse
        answer = await api.patch(A, json={"title": None, "url": "https://u", "metadata": {"year": None, "new": True}})
        assert (answer.status_code, answer.json()["outcome"]) == (202, "metadata_only")
        await api.settle()
        after = (await api.get(A)).json()
        assert (after["title"], after["url"], after["metadata"]) == (None, "https://u", {"team": "hr", "new": True})
        assert (after["state"], after["content_hash"]) == ("searchable", before["content_hash"])


async def test_patch_of_what_is_not_there_is_404():
    async with served.opened() as api:
        assert served.problem(await api.patch(A, json={"title": "t"}))[:2] == (404, "document_not_found")
        await api.put(A, json={"text": "x"})
        await api.delete(A)
        assert served.problem(await api.patch(A, json={"title": "t"}))[:2] == (404, "document_deleted")


async def test_patches_that_cannot_be_are_422_with_the_place():
    async with served.opened() as api:
        await api.put(A, json={"text": "x", "metadata": {f"k{i}": 1 for i in range(60)}})
        for patch, pointer in (
            ({}, ""), ({"text": "x"}, "/text"), ({"title": 5}, "/title"), ({"metadata": []}, "/metadata"),
            ({"metadata": {"a": {}}}, "/metadata/a"), ({"metadata": {"1": None}}, "/metadata/1"),
            ({"metadata": {f"new{i}": 1 for i in range(5)}}, "/metadata"),
        ):  # fmt: skip
            assert served.problem(await api.patch(A, json=patch))[2] == [pointer], patch
        assert len((await api.get(A)).json()["metadata"]) == 60


async def test_delete_hides_at_once_and_the_tombstone_is_shown():
    async with served.opened() as api:
        await api.index("a")
        answer = await api.delete(A)
        assert (answer.status_code, answer.json()["outcome"], answer.json()["state"]) == (200, "deleted", "deleted")
        search = await api.post("/v1/search", json={"query": "words"})
        assert search.json()["hits"] == []
        assert (await api.get(A)).json()["state"] == "deleted"
        assert (await api.delete(A)).json()["outcome"] == "unchanged"
        assert served.problem(await api.get(f"{A}/text"))[:2] == (404, "document_deleted")
        assert served.problem(await api.get(f"{A}/chunks"))[:2] == (404, "document_deleted")
        assert served.problem(await api.post(f"{A}/retry"))[:2] == (404, "document_deleted")


async def test_delete_of_an_unknown_document_is_404():
    async with served.opened() as api:
        assert served.problem(await api.delete(A))[:2] == (404, "document_not_found")
        refused = await api.delete(A + "?source_version=5")
        assert served.problem(refused)[:2] == (422, "source_version_refused")


async def test_delete_with_a_source_version_is_the_sources_news():
    async with served.opened(ordering=Ordering.SOURCE) as api:
        unknown = await api.delete(A + "?source_version=5")
        assert (unknown.status_code, unknown.json()["outcome"]) == (200, "deleted")
        await api.index("a", source_version=9)
        for version in ("8", "9"):
            late = await api.delete(A + f"?source_version={version}")
            assert served.problem(late)[:2] == (409, "older_than_current")
        assert (await api.get(A)).json()["state"] == "searchable"
        assert (await api.delete(A)).json()["outcome"] == "deleted"
        assert (await api.put(A, json={"text": "x", "source_version": 9})).json()["outcome"] == "superseded"
        assert (await api.put(A, json={"text": "x", "source_version": 10})).json()["outcome"] == "created"


async def test_the_list_is_by_id_and_shows_deleted_ones_only_when_asked():
    async with served.opened() as api:
        for name in ("b", "a/1", "a/2", "é"):
            await api.index(name.replace("/", "%2F"))
        await api.delete(f"{served.HANDBOOK}/b")

        async def ids(query: str = "") -> list[str]:
            return [item["document_id"] for item in (await api.get(served.HANDBOOK + query)).json()["items"]]

        assert await ids() == ["a/1", "a/2", "é"]
        assert await ids("?state=deleted") == ["b"]
        assert await ids("?state=failed") == []
        assert await ids("?prefix=a%2F") == ["a/1", "a/2"]
        assert await ids("?since=2050-01-01T00:00:00Z") == []
        first = (await api.get(f"{served.HANDBOOK}?limit=2")).json()
        assert [item["document_id"] for item in first["items"]] == ["a/1", "a/2"]
        assert await ids(f"?limit=2&cursor={first['next_cursor']}") == ["é"]


async def test_the_list_can_be_narrowed_to_what_was_pushed_from_one_place():
    async with served.opened() as api:
        await api.index("a", origin="docs")
        await api.index("b", origin="wiki")
        items = (await api.get(f"{served.HANDBOOK}?origin=docs")).json()["items"]
        assert [(item["document_id"], item["origin"]) for item in items] == [("a", "docs")]


async def test_text_is_given_as_sent_and_never_as_something_that_a_browser_runs():
    async with served.opened() as api:
        html = "<h1>Hi</h1><script>alert(1)</script><p>there</p>"
        await api.index("a", text=html, media_type="text/html")
        answer = await api.get(f"{A}/text")
        assert (answer.text, answer.headers["x-media-type"]) == (html, "text/html")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        extracted = (await api.get(f"{A}/text?form=extracted")).text
        chunk = (await api.get(f"{A}/chunks")).json()["items"][0]
        assert "<" not in extracted
        assert extracted[chunk["start"] : chunk["end"]] == chunk["text"]


async def test_text_and_chunks_of_the_live_version_stay_while_a_new_one_is_built():
    async with served.opened() as api:
        assert served.problem(await api.get(f"{A}/text"))[:2] == (404, "document_not_found")
        await api.put(A, json={"text": "first"})
        assert served.problem(await api.get(f"{A}/text?version=live"))[:2] == (404, "document_not_found")
        assert (await api.get(f"{A}/chunks")).json() == {"items": [], "next_cursor": None}
        await api.settle()
        await api.put(A, json={"text": "second"})
        assert (await api.get(f"{A}/text")).text == "second"
        assert (await api.get(f"{A}/text?version=live")).text == "first"
        assert [chunk["text"] for chunk in (await api.get(f"{A}/chunks")).json()["items"]] == ["first"]
        assert (await api.get(A)).json()["state"] == "updating"


async def test_large_texts_come_back_as_they_were_sent():
    async with served.opened() as api:
        text = "é word " * 20_000
        await api.put(A, json={"text": text})
        assert (await api.get(f"{A}/text")).text == text


async def test_chunks_come_in_pages():
    async with served.opened() as api:
        await api.index("a", text="\n\n".join("word " * 30 for _ in range(5)))
        first = (await api.get(f"{A}/chunks?limit=3")).json()
        rest = (await api.get(f"{A}/chunks?limit=3&cursor={first['next_cursor']}")).json()
        assert [chunk["index"] for chunk in first["items"] + rest["items"]] == [0, 1, 2, 3, 4]
        assert rest["next_cursor"] is None


async def test_why_tells_how_it_stands_and_what_happened():
    async with served.opened() as api:
        await api.put(A, json={"text": "words"}, headers={"x-request-id": "req-77"})
        await api.pipe.webhook.flush()
        waiting = (await api.get(f"{A}/why")).json()
        assert waiting["state"] == "pending"
        assert "waits to be embedded with mem" in waiting["verdict"]
        assert waiting["timeline"][0]["step"] == "accepted"
        assert waiting["timeline"][0]["request_id"] == "req-77"
        await api.settle()
        done = (await api.get(f"{A}/why")).json()
        assert done["verdict"].startswith("Search shows what was sent last")
        assert [step["step"] for step in done["timeline"]][-1] == "shown"
        assert "words" not in json.dumps(done["timeline"])


async def test_a_failed_document_says_why_and_is_tried_again_on_request():
    async with served.opened() as api:
        api.pipe.embedder.fault = _refuse
        await api.index("a")
        failed = (await api.get(A)).json()
        assert (failed["state"], failed["reason"], failed["detail"]) == (
            "failed",
            "embedding_failed",
            "the model said no",
        )
        assert "It failed after" in (await api.get(f"{A}/why")).json()["verdict"]
        waited = await api.put(A + "?wait=searchable", json={"text": "some words to find"})
        assert (waited.status_code, waited.json()["state"]) == (200, "failed")
        api.pipe.embedder.fault = None
        retried = await api.post(f"{A}/retry")
        assert (retried.status_code, retried.json()["retried"], retried.json()["state"]) == (202, True, "pending")
        await api.settle()
        assert (await api.get(A)).json()["state"] == "searchable"
        assert (await api.post(f"{A}/retry")).json()["retried"] is False


async def test_a_mandatory_filter_binds_every_read():
    async with served.opened() as api:
        await api.index("mine", metadata={"team": "hr"})
        await api.index("other", metadata={"team": "it"})
        await api.index("none")
        secret = await api.key(verbs=["read", "write"], where={"team": "hr"})
        listed = (await api.get(served.HANDBOOK, secret=secret)).json()["items"]
        assert [item["document_id"] for item in listed] == ["mine"]
        for name in ("other", "none"):
            for path in ("", "/text", "/chunks", "/why"):
                answer = await api.get(f"{served.HANDBOOK}/{name}{path}", secret=secret)
                assert served.problem(answer)[:2] == (404, "document_not_found"), path
            retry = await api.post(f"{served.HANDBOOK}/{name}/retry", secret=secret)
            assert served.problem(retry)[:2] == (404, "document_not_found")
        assert (await api.get(f"{served.HANDBOOK}/mine", secret=secret)).status_code == 200
        hits = (await api.post("/v1/search", json={"query": "words"}, secret=secret)).json()["hits"]
        assert [hit["document_id"] for hit in hits] == ["mine"]
        counts = (await api.get("/v1/collections/default", secret=secret)).json()["counts"]
        assert sum(counts.values()) == 1
        assert sum((await api.get("/v1/status", secret=secret)).json()["counts"].values()) == 1


async def test_a_filtered_list_goes_on_behind_pages_that_it_may_not_see():
    async with served.opened() as api:
        await api.post("/v1/events", json=[served.event(f"x{i:02}") for i in range(30)])
        await api.post("/v1/events", json=[served.event(f"y{i}", metadata={"team": "hr"}) for i in range(3)])
        secret = await api.key(where={"team": "hr"})
        first = (await api.get(f"{served.HANDBOOK}?limit=2", secret=secret)).json()
        rest = (await api.get(f"{served.HANDBOOK}?limit=2&cursor={first['next_cursor']}", secret=secret)).json()
        assert [item["document_id"] for item in first["items"] + rest["items"]] == ["y0", "y1", "y2"]
        assert rest["next_cursor"] is None
