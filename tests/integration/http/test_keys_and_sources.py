"""API keys, and signed sources that send without one."""

import json
from typing import Any

from bloomweaver.domain import signatures
from tests.support import pipelines, served

CRM = "/v1/sources/crm"


async def test_a_key_is_made_listed_without_its_secret_and_revoked_at_once():
    async with served.opened() as api:
        wish = {"name": "reader", "verbs": ["read"], "collections": ["hr-*"], "filter": {"team": "hr"}}
        answer = await api.post("/v1/keys", json={**wish, "expires_at": "2099-01-01T00:00:00Z"})
        made = answer.json()
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        assert made["secret"].startswith("bw_")
        assert not made["id"].startswith("bw_")
        assert (made["verbs"], made["filter"]) == (["read"], {"team": {"$eq": "hr"}})
        listed = (await api.get("/v1/keys")).json()["items"]
        assert made["id"] in [key["id"] for key in listed]
        assert made["secret"] not in json.dumps(listed)
        assert (await api.get("/v1/collections", secret=made["secret"])).status_code == 200
        assert (await api.delete(f"/v1/keys/{made['id']}")).json() == {"id": made["id"], "revoked": True}
        assert served.problem(await api.get("/v1/collections", secret=made["secret"]))[:2] == (401, "unauthenticated")
        assert served.problem(await api.delete(f"/v1/keys/{made['id']}"))[:2] == (404, "key_not_found")


async def test_the_last_admin_key_stays_and_another_tenants_is_not_there():
    async with served.opened() as api:
        (only,) = (await api.get("/v1/keys")).json()["items"]
        assert served.problem(await api.delete(f"/v1/keys/{only['id']}"))[:2] == (409, "last_admin_key")
        stranger = await api.key(tenant="globex")
        assert served.problem(await api.delete(f"/v1/keys/{only['id']}", secret=stranger))[0] == 404


async def test_keys_that_cannot_be_are_422_with_the_place():
    async with served.opened() as api:
        good = {"name": "k", "verbs": ["read"]}
        for change, reason, pointer in (
            ({"name": ""}, "invalid_request", "/name"),
            ({"name": "a\nb"}, "invalid_request", "/name"),
            ({"verbs": []}, "invalid_request", "/verbs"),
            ({"verbs": ["read", "fly"]}, "invalid_request", "/verbs/1"),
            ({"collections": ["A b"]}, "invalid_request", "/collections/0"),
            ({"collections": []}, "invalid_request", "/collections"),
            ({"expires_at": "soon"}, "invalid_request", "/expires_at"),
            ({"expires_at": "2001-01-01T00:00:00Z"}, "invalid_request", "/expires_at"),
            ({"filter": {"$near": 1}}, "invalid_filter", "/filter/$near"),
            ({"tenant": "globex"}, "invalid_request", "/tenant"),
        ):
            assert served.problem(await api.post("/v1/keys", json={**good, **change})) == (422, reason, [pointer]), (
                change
            )


async def test_a_key_never_makes_one_that_reaches_further_than_itself():
    async with served.opened() as api:
        narrow = await api.key(collections=["hr-*"], where={"team": "hr"})
        for globs in (["*"], ["h*"], ["default"], ["hr-?"]):
            answer = await api.post(
                "/v1/keys", json={"name": "k", "verbs": ["read"], "collections": globs}, secret=narrow
            )
            assert served.problem(answer)[:2] == (403, "forbidden"), globs
        wish = {"name": "k", "verbs": ["read"], "collections": ["hr-*", "hr-a"], "filter": {"year": 2026}}
        made = (await api.post("/v1/keys", json=wish, secret=narrow)).json()
        assert made["filter"] == {"$and": [{"team": {"$eq": "hr"}}, {"year": {"$eq": 2026}}]}


async def source(api: served.Served, **settings) -> tuple[str, signatures.Secret]:
    """A source's ingest URL and secret."""
    made = (await api.put(CRM, json=settings)).json()
    return made["ingest_url"], signatures.parse_secret(made["secret"])


async def ingest(
    api: served.Served, url: str, secret: signatures.Secret, body: object, *, webhook_id: str = "w1", **more
):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = int(api.pipe.clock.now()) + more.pop("age_seconds", 0)
    headers = signatures.sign(sent, secret=secret, webhook_id=webhook_id, timestamp_seconds=at)
    headers |= {"content-type": "application/json", **more.pop("headers", {})}
    return await api.post(url, content=more.pop("tampered", sent), headers=headers, secret="")


async def test_a_signed_source_sends_without_a_key_into_its_collection():
    async with served.opened() as api:
        await api.put("/v1/collections/crm-notes", json={})
        url, secret = await source(api, collection="crm-notes")
        answer = await ingest(api, url, secret, served.event("a"))
        assert (answer.status_code, answer.json()["collection"], answer.json()["event_id"]) == (202, "crm-notes", "w1")
        again = await ingest(api, url, secret, served.event("a"))
        assert (again.json()["outcome"], again.json()["original_outcome"]) == ("duplicate", "created")
        looked_up = await api.get("/v1/events/w1?collection=crm-notes&source=crm")
        assert looked_up.json()["outcome"] == "created"
        other = await ingest(api, url, secret, served.event("a", "other text"))
        assert served.problem(other)[:2] == (422, "event_id_reused")
        elsewhere = await ingest(api, url, secret, served.event("a", collection="default"), webhook_id="w2")
        assert served.problem(elsewhere) == (422, "invalid_request", ["/collection"])


async def test_several_and_cloud_events_come_signed_too():
    async with served.opened() as api:
        url, secret = await source(api)
        several = await ingest(api, url, secret, [served.event("a"), served.event("b")])
        assert [result["event_id"] for result in several.json()["results"]] == ["w1:0", "w1:1"]
        event = {
            "specversion": "1.0",
            "id": "1",
            "source": "/x",
            "type": "insert",
            "subject": "c",
            "data": {"text": "t"},
        }
        kind = {"content-type": "application/cloudevents+json"}
        assert (await ingest(api, url, secret, event, webhook_id="w3", headers=kind)).status_code == 202
        assert (await api.get("/v1/events/1?source=crm//x")).json()["document_id"] == "c"


async def test_a_request_that_the_source_did_not_sign_is_401_and_stores_nothing():
    async with served.opened() as api:
        url, secret = await source(api, tolerance_seconds=60)
        forgeries: dict[str, dict[str, Any]] = {
            "another key": {},
            "body": {"tampered": json.dumps(served.event("b")).encode()},
            "old": {"age_seconds": -61},
            "future": {"age_seconds": 61},
            "unsigned": {"headers": {"webhook-signature": "v1,"}},
            "nonsense": {"headers": {"webhook-signature": "v1,AAAA v1,BBBB"}},
        }
        for name, changes in forgeries.items():
            used = signatures.Secret(b"x" * 32) if name == "another key" else secret
            answer = await ingest(api, url, used, served.event("a"), **changes)
            assert served.problem(answer)[:2] == (401, "invalid_signature"), name
        assert await api.stored() == []


async def test_an_unknown_source_is_404_before_its_body_is_read():
    async with served.opened() as api:
        answer = await api.post("/v1/ingest/nosuch", content=b"{", secret="")
        assert served.problem(answer)[:2] == (404, "source_not_found")


async def test_two_secrets_are_valid_during_a_rotation():
    async with served.opened() as api:
        url, old = await source(api)
        assert (await api.put(CRM, json={})).json()["secret"] == old.text
        begun = (await api.put(f"{CRM}?rotate=begin", json={})).json()
        new = signatures.parse_secret(begun["secret"])
        assert (begun["secrets_valid"], begun["ingest_url"]) == (2, url)
        assert new != old
        for number, secret in enumerate((old, new)):
            answer = await ingest(api, url, secret, served.event(f"d{number}"), webhook_id=f"w{number}")
            assert answer.status_code == 202
        assert (await api.put(f"{CRM}?rotate=end", json={})).json()["secrets_valid"] == 1
        assert (await ingest(api, url, old, served.event("z"), webhook_id="w9")).status_code == 401
        assert (await ingest(api, url, new, served.event("z"), webhook_id="w9")).status_code == 202


async def test_the_secret_of_a_source_is_not_stored_in_the_open():
    async with served.opened() as api:
        _, secret = await source(api)
        stored = await api.pipe.store.database.registry.source(pipelines.TENANT, "crm")
        assert stored is not None
        assert all(secret.key not in sealed for sealed in stored.secrets)


async def test_a_filtered_source_touches_only_what_passes():
    async with served.opened() as api:
        await api.index("other", metadata={"team": "it"})
        url, secret = await source(api, filter={"team": "hr"})
        outside = await ingest(api, url, secret, served.event("a", metadata={"team": "it"}))
        assert served.problem(outside) == (422, "invalid_metadata", ["/metadata"])
        for event in (
            served.event("other", metadata={"team": "hr"}),
            {"change_type": "delete", "document_id": "other"},
        ):
            taken = await ingest(api, url, secret, event, webhook_id="w2")
            assert served.problem(taken)[:2] == (404, "document_not_found")
        inside = await ingest(api, url, secret, served.event("a", metadata={"team": "hr"}), webhook_id="w3")
        assert inside.status_code == 202
        assert await api.stored() == ["a", "other"]


async def test_sources_that_cannot_be_are_refused_with_the_place():
    async with served.opened() as api:
        for path, body, expected in (
            (CRM, {"collection": "nowhere"}, (404, "collection_not_found", [])),
            (CRM, {"tolerance_seconds": 0}, (422, "invalid_request", ["/tolerance_seconds"])),
            (CRM, {"filter": {"a": None}}, (422, "invalid_filter", ["/filter/a"])),
            (CRM, {"secret": "mine"}, (422, "invalid_request", ["/secret"])),
            ("/v1/sources/My%20CRM", {}, (422, "invalid_request", [])),
            (f"{CRM}?rotate=now", {}, (422, "invalid_request", ["/rotate"])),
        ):
            assert served.problem(await api.put(path, json=body)) == expected, body
