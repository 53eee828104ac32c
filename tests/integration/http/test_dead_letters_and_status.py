"""Failed documents and the way back, and how things stand."""

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from tests.support import served

LETTERS = "/v1/dead-letters"


async def fail(api: served.Served, document_id: str, *, collection: str = "default", **fields) -> None:
    """A document that failed for good."""

    def refuse(passages):
        raise errors.PermanentError(Reason.EMBEDDING_FAILED, "the model said no")

    api.pipe.embedder.fault = refuse
    path = f"/v1/collections/{collection}/documents/{document_id}"
    assert (await api.put(path, json={"text": f"words of {collection} {document_id}", **fields})).status_code == 202
    await api.settle()
    api.pipe.embedder.fault = None


async def ids(api: served.Served, query: str = "", **request) -> list[tuple[str, str]]:
    items = (await api.get(LETTERS + query, **request)).json()["items"]
    return [(item["collection"], item["document_id"]) for item in items]


async def test_failed_documents_are_listed_with_their_cause():
    async with served.opened() as api:
        await fail(api, "a")
        (letter,) = (await api.get(LETTERS)).json()["items"]
        assert (letter["document_id"], letter["reason"]) == ("a", "embedding_failed")
        assert (letter["detail"], letter["status_url"]) == ("the model said no", f"{served.HANDBOOK}/a")
        assert letter["first_failure_at"] == letter["last_failure_at"] is not None
        assert letter["state"] == "failed"


async def test_failed_documents_are_narrowed_by_reason_and_collection_and_paged():
    async with served.opened() as api:
        await api.put("/v1/collections/other", json={})
        for collection, name in (("default", "a"), ("default", "b"), ("other", "a")):
            await fail(api, name, collection=collection)
        everything = [("default", "a"), ("default", "b"), ("other", "a")]
        assert await ids(api) == everything
        assert await ids(api, "?collection=other") == [("other", "a")]
        assert await ids(api, "?reason=embedding_failed") == everything
        assert await ids(api, "?reason=unparsable") == []
        first = (await api.get(f"{LETTERS}?limit=2")).json()
        assert await ids(api, f"?limit=2&cursor={first['next_cursor']}") == [("other", "a")]
        for query, status in (("?reason=nonsense", 422), ("?collection=nowhere", 404)):
            assert served.problem(await api.get(LETTERS + query))[0] == status


async def test_failed_documents_are_redriven_by_id_by_reason_and_all_at_once():
    async with served.opened() as api:
        for name in ("a", "b", "c"):
            await fail(api, name)
        redrive = f"{LETTERS}/redrive"
        one = await api.post(redrive, json={"collection": "default", "documents": ["a", "a", "never"]})
        assert (one.status_code, one.json()) == (200, {"redriven": 1})
        assert (await api.post(redrive, json={"reason": "unparsable"})).json() == {"redriven": 0}
        assert (await api.post(redrive, json={})).json() == {"redriven": 2}
        await api.settle()
        assert await ids(api) == []
        counts = (await api.get("/v1/collections/default")).json()["counts"]
        assert counts["searchable"] == 3


async def test_a_redrive_that_cannot_be_is_refused():
    async with served.opened() as api:
        for body, expected in (
            ({"documents": ["a"]}, (422, "invalid_request", ["/collection"])),
            ({"collection": "nowhere"}, (404, "collection_not_found", [])),
            ({"reason": "nonsense"}, (422, "invalid_request", ["/reason"])),
            ({"documents": [], "collection": "default"}, (422, "invalid_request", ["/documents"])),
        ):
            assert served.problem(await api.post(f"{LETTERS}/redrive", json=body)) == expected, body


async def test_a_key_lists_and_redrives_only_what_it_sees():
    async with served.opened() as api:
        await api.put("/v1/collections/other", json={})
        await fail(api, "a", metadata={"team": "hr"})
        await fail(api, "b", metadata={"team": "it"})
        await fail(api, "a", collection="other")
        narrow, filtered = await api.key(collections=["other"]), await api.key(where={"team": "hr"})
        assert await ids(api, secret=narrow) == [("other", "a")]
        assert await ids(api, secret=filtered) == [("default", "a")]
        named = {"collection": "default", "documents": ["a", "b"]}
        assert (await api.post(f"{LETTERS}/redrive", json=named, secret=filtered)).json() == {"redriven": 1}
        assert (await api.post(f"{LETTERS}/redrive", json={}, secret=narrow)).json() == {"redriven": 1}
        assert await ids(api) == [("default", "b")]


async def test_status_shows_the_tenant_and_to_an_admin_the_deployment():
    async with served.opened() as api:
        await api.index("a")
        await api.put(f"{served.HANDBOOK}/b", json={"text": "waits"})
        await api.pipe.webhook.flush()
        api.pipe.clock.advance(5)
        body = (await api.get("/v1/status")).json()
        assert (body["version"], body["counts"]["searchable"], body["counts"]["pending"]) == ("1.2.3", 1, 1)
        assert body["oldest_pending_age_seconds"] == 5.0
        assert body["queues"][api.pipe.change_queue]["visible"] == 1
        assert (body["embedders"][0]["model"], body["stores"]["queues"]["reachable"]) == ("mem", True)
        reader = await api.key(verbs=["read"])
        assert (await api.get("/v1/status", secret=reader)).json().keys() == {
            "version", "counts", "oldest_pending_age_seconds",
        }  # fmt: skip
        assert served.problem(await api.get("/v1/status", secret=await api.key(verbs=["write"])))[0] == 403


async def test_status_names_a_store_that_is_away():
    async with served.opened() as api:

        async def away() -> None:
            raise errors.TransientError(Reason.BLOBS_UNAVAILABLE, "the bucket does not answer")

        api.probes["blobs"] = away
        stores = (await api.get("/v1/status")).json()["stores"]
        assert stores["blobs"] == {"reachable": False, "reason": "blobs_unavailable"}


async def test_probes_and_documentation_need_no_key():
    async with served.opened() as api:
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/reasons/empty_text"):
            assert (await api.get(path, secret="")).status_code == 200, path
