"""Collections, and changing the embedding model under them."""

from bloomweaver.domain import documents, identity
from tests.support import served

C = "/v1/collections/handbook"


async def test_a_collection_is_made_with_defaults_and_put_again_changes_nothing():
    async with served.opened() as api:
        made = await api.put(C, json={})
        body = made.json()
        assert made.status_code == 201
        assert (body["name"], body["model"], body["ordering"]) == ("handbook", "mem", "arrival")
        assert body["chunking"] == {"max_tokens": 32, "overlap_tokens": 0}
        assert (body["reindex"]["state"], body["oldest_pending_age_seconds"]) == ("none", None)
        again = await api.put(C, json={"model": "mem", "ordering": "arrival", "chunking": {"max_tokens": 32}})
        assert again.status_code == 200


async def test_what_a_put_leaves_out_keeps_its_value():
    async with served.opened() as api:
        await api.put(C, json={"ordering": "source", "chunking": {"max_tokens": 20}, "description": "first"})
        body = (await api.put(C, json={"description": "second"})).json()
        assert (body["ordering"], body["chunking"]["max_tokens"], body["description"]) == ("source", 20, "second")


async def test_the_ordering_is_fixed():
    async with served.opened() as api:
        await api.put(C, json={})
        answer = await api.put(C, json={"ordering": "source", "description": "new"})
        assert served.problem(answer) == (409, "ordering_fixed", ["/ordering"])
        assert (await api.get(C)).json()["description"] == ""


async def test_collections_that_cannot_be_are_422_with_the_place():
    async with served.opened() as api:
        for body, reason, pointer in (
            ({"model": "gpt"}, "model_not_found", "/model"),
            ({"ordering": "random"}, "invalid_request", "/ordering"),
            ({"chunking": {"max_tokens": 33}}, "invalid_request", "/chunking/max_tokens"),
            ({"chunking": {"max_tokens": 0}}, "invalid_request", "/chunking/max_tokens"),
            ({"chunking": {"max_tokens": 20, "overlap_tokens": 11}}, "invalid_request", "/chunking/overlap_tokens"),
            ({"chunking": {"size": 1}}, "invalid_request", "/chunking/size"),
            ({"colour": "red"}, "invalid_request", "/colour"),
        ):
            assert served.problem(await api.put(C, json=body)) == (422, reason, [pointer]), body
        assert served.problem(await api.get(C))[:2] == (404, "collection_not_found")


async def test_another_model_begins_a_reindex_and_the_first_one_cancels_it():
    async with served.opened() as api:
        await api.put(C, json={})
        started = await api.put(C, json={"model": "other"})
        assert (started.status_code, started.json()["model"]) == (202, "mem")
        assert (started.json()["reindex"]["state"], started.json()["reindex"]["model"]) == ("building", "other")
        assert (await api.put(C, json={"model": "other"})).status_code == 200
        assert (await api.put(C, json={"description": "d"})).json()["reindex"]["state"] == "building"
        assert (await api.put(C, json={"chunking": {"max_tokens": 16}})).status_code == 202
        back = await api.put(C, json={"model": "mem", "chunking": {"max_tokens": 32}})
        assert (back.status_code, back.json()["reindex"]["state"]) == (200, "none")


async def test_a_reindex_is_built_promoted_and_rolled_back():
    async with served.opened() as api:
        for name in "abc":
            await api.index(name, text="some words to find " * 8)
        default = "/v1/collections/default"
        assert (await api.put(default, json={"chunking": {"max_tokens": 16}})).status_code == 202
        progress = (await api.get(f"{default}/reindex")).json()
        assert (progress["total"], progress["done"], progress["gate"]["open"]) == (3, 0, False)
        assert progress["gate"]["laggards"] == ["a", "b", "c"]
        assert progress["estimate"]["documents"] == 3
        assert progress["estimate"]["tokens"] == 96
        shut = await api.post(f"{default}/reindex/promote")
        assert served.problem(shut)[:2] == (409, "reindex_conflict")
        await rounds(api)
        promoted = await api.post(f"{default}/reindex/promote")
        assert (promoted.status_code, promoted.json()["state"]) == (200, "soaking")
        assert (await api.get(default)).json()["chunking"]["max_tokens"] == 16
        assert len((await api.get(f"{served.HANDBOOK}/a/chunks")).json()["items"]) == 3
        rolled = await api.post(f"{default}/reindex/rollback")
        assert (rolled.status_code, (await api.get(default)).json()["chunking"]["max_tokens"]) == (200, 32)


async def test_what_a_reindex_would_take_is_told_before_it_begins():
    async with served.opened() as api:
        for name in "abc":
            await api.index(name, text="some words to find " * 8)
        default = "/v1/collections/default/reindex"
        foreseen = (await api.get(f"{default}?model=other")).json()
        assert foreseen["state"] == "none"
        assert foreseen["estimate"] == {
            "documents": 3,
            "tokens": 96,
            "chunks": 3,
            "vector_bytes": 3 * 16 * 4,
            "seconds": None,
            "cost": None,
        }
        assert (await api.get(f"{default}?model=mem")).json()["estimate"] is None
        assert served.problem(await api.get(f"{default}?model=gpt")) == (422, "model_not_found", ["/model"])


async def test_a_reindex_can_be_cancelled_and_forced():
    async with served.opened() as api:
        await api.index("a")
        default = "/v1/collections/default"
        for step in ("promote", "rollback", "cancel"):
            assert served.problem(await api.post(f"{default}/reindex/{step}"))[:2] == (409, "reindex_conflict")
        await api.put(default, json={"model": "other"})
        assert (await api.post(f"{default}/reindex/cancel")).json()["state"] == "none"
        await api.put(default, json={"model": "other"})
        wrong = await api.post(f"{default}/reindex/promote?force=yes")
        assert served.problem(wrong) == (422, "invalid_request", ["/force"])
        forced = await api.post(f"{default}/reindex/promote?force=true")
        assert (forced.status_code, forced.json()["gate"] is not None) == (200, True)
        assert (await api.get(default)).json()["model"] == "other"


async def test_collections_are_listed_by_name_in_pages_with_counts():
    async with served.opened() as api:
        for name in ("b", "a"):
            await api.put(f"/v1/collections/{name}", json={})
        await api.index("x")
        await api.put(f"{served.HANDBOOK}/y", json={"text": "waits"})
        api.pipe.clock.advance(7)
        first = (await api.get("/v1/collections?limit=2")).json()
        assert [item["name"] for item in first["items"]] == ["a", "b"]
        (rest,) = (await api.get(f"/v1/collections?limit=2&cursor={first['next_cursor']}")).json()["items"]
        assert (rest["counts"]["searchable"], rest["counts"]["pending"]) == (1, 1)
        assert rest["oldest_pending_age_seconds"] == 7.0


async def test_deleting_a_collection_needs_its_name_again_and_frees_it_at_once():
    async with served.opened() as api:
        await api.index("a")
        default = "/v1/collections/default"
        for query in ("", "?confirm=other"):
            answer = await api.delete(default + query)
            assert served.problem(answer)[:2] == (422, "confirmation_required")
        gone = await api.delete(f"{default}?confirm=default")
        assert (gone.status_code, gone.json()) == (202, {"name": "default", "state": "deleting"})
        assert served.problem(await api.get(default))[:2] == (404, "collection_not_found")
        assert (await api.post("/v1/search", json={"query": "words"})).json()["hits"] == []
        assert (await api.put(default, json={})).status_code == 201
        assert (await api.get(served.HANDBOOK)).json()["items"] == []


async def test_two_who_change_a_collection_at_once_cannot_both_win():
    async with served.opened() as api:
        uid = (await api.pipe.collection()).uid
        before = await generation(api, uid)
        await api.put("/v1/collections/default", json={"model": "other"})
        moved = await api.pipe.store.database.registry.build(uid, epoch=before.epoch, pipeline=None)
        assert moved.generation is None


async def test_going_back_to_an_earlier_model_is_a_new_namespace():
    async with served.opened() as api:
        uid = (await api.pipe.collection()).uid
        names = []
        for model in ("other", "mem"):
            names.append((await generation(api, uid)).active.pipe)
            await api.put("/v1/collections/default", json={"model": model})
            await api.post("/v1/collections/default/reindex/promote?force=true")
            api.pipe.clock.advance(48 * 3600)
            await api.pipe.reconciler.round()
        names.append((await generation(api, uid)).active.pipe)
        assert len(set(names)) == 3


async def generation(api: served.Served, uid: identity.CollectionUid) -> documents.Generation:
    """The collection's generation now."""
    found = await api.pipe.store.database.registry.generation(uid)
    assert found is not None
    return found


async def test_a_filtered_key_learns_of_a_reindex_but_not_of_other_documents():
    async with served.opened() as api:
        await api.index("secret")
        await api.put("/v1/collections/default", json={"model": "other"})
        filtered = await api.key(where={"team": "hr"})
        for path in ("/v1/collections/default/reindex", "/v1/collections/default"):
            answer = await api.get(path, secret=filtered)
            assert "secret" not in answer.text
        shown = (await api.get("/v1/collections/default/reindex", secret=filtered)).json()
        assert (shown["state"], shown["total"], shown["gate"]) == ("building", None, None)


async def rounds(api: served.Served) -> None:
    """What the reconciler and the workers do about a re-index, until nothing moves."""
    for _ in range(6):
        api.pipe.clock.advance(120)
        await api.pipe.reconciler.round()
        await api.settle()
