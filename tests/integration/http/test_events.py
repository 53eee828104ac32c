"""POST /v1/events in all its forms, and what became of events."""

import asyncio
import dataclasses
import json

from bloomweaver.domain.documents import Ordering
from bloomweaver.ports import ledger
from tests.support import served


async def test_one_event_answers_its_result_alone():
    async with served.opened() as api:
        answer = await api.post("/v1/events", json=served.event("a", event_id="evt-1"))
        assert answer.status_code == 202
        body = answer.json()
        assert (body["event_id"], body["outcome"], body["state"]) == ("evt-1", "created", "pending")
        assert body["status_url"] == "/v1/collections/default/documents/a"
        assert body["seq"] > body["live_seq"] == 0


async def test_several_events_answer_one_result_each_in_order():
    async with served.opened() as api:
        events = [served.event("a", "one"), served.event("b", "two"), served.event("a", "three")]
        body = (await api.post("/v1/events", json=events)).json()
        assert (body["accepted"], body["rejected"]) == (3, 0)
        assert [result["outcome"] for result in body["results"]] == ["created", "created", "updated"]
        assert body["results"][0]["seq"] < body["results"][2]["seq"]


async def test_a_half_bad_batch_accepts_what_is_good():
    async with served.opened() as api:
        events = [served.event("a"), served.event("b", text=" "), served.event("c", change_type="remove")]
        answer = await api.post("/v1/events", json=events)
        body = answer.json()
        assert answer.status_code == 202
        assert (body["accepted"], body["rejected"]) == (1, 2)
        bad = body["results"][1]
        assert (bad["index"], bad["error"]["status"], bad["error"]["reason"]) == (1, 422, "empty_text")
        assert bad["error"]["errors"][0]["pointer"] == "/1/text"
        assert body["results"][2]["error"]["errors"][0]["pointer"] == "/2/change_type"
        assert await api.stored() == ["a"]


async def test_when_all_items_are_bad_the_call_is_refused():
    async with served.opened() as api:
        answer = await api.post("/v1/events", json=[served.event("", "x"), served.event("b", text="")])
        assert served.problem(answer) == (422, "invalid_request", ["/0/document_id", "/1/text"])
        assert await api.stored() == []


async def test_ndjson_takes_good_lines_and_names_bad_ones():
    async with served.opened() as api:
        lines = b"\n".join([json.dumps(served.event("a")).encode(), b"", b"{not json", b" "])
        body = (await api.send(lines, "application/x-ndjson")).json()
        assert body["results"][0]["outcome"] == "created"
        assert (body["results"][1]["index"], body["results"][1]["error"]["reason"]) == (1, "malformed_json")
        assert await api.stored() == ["a"]


async def test_ids_come_from_the_body_then_webhook_id_then_idempotency_key():
    async with served.opened() as api:
        headers = {"webhook-id": "w", "idempotency-key": "k"}
        own = await api.post("/v1/events", json=served.event("a", event_id="own"), headers=headers)
        webhook = await api.post("/v1/events", json=served.event("b"), headers=headers)
        key = await api.post("/v1/events", json=served.event("c"), headers={"idempotency-key": "k"})
        several = await api.post("/v1/events", json=[served.event("d")] * 2, headers={"idempotency-key": "k"})
        assert [answer.json()["event_id"] for answer in (own, webhook, key)] == ["own", "w", "k"]
        assert [result["event_id"] for result in several.json()["results"]] == ["k:0", "k:1"]


async def test_the_same_event_again_is_a_duplicate_with_its_first_outcome():
    async with served.opened() as api:
        first = (await api.post("/v1/events", json=served.event("a", event_id="e"))).json()
        again = (await api.post("/v1/events", json=served.event("a", event_id="e"))).json()
        assert (again["outcome"], again["original_outcome"], again["seq"]) == ("duplicate", "created", first["seq"])


async def test_the_same_id_with_other_content_is_refused():
    async with served.opened() as api:
        await api.post("/v1/events", json=served.event("a", event_id="e"))
        answer = await api.post("/v1/events", json=served.event("a", text="other", event_id="e"))
        assert served.problem(answer)[:2] == (422, "event_id_reused")


class SlowLedger:
    """Decides when it is told to."""

    def __init__(self, inner: ledger.Ledger) -> None:
        self._inner = inner
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def accept(self, changes):
        self.asked.set()
        await self.gate.wait()
        return await self._inner.accept(changes)


async def test_an_event_that_is_being_decided_answers_409_and_is_no_bad_item():
    slow: list[SlowLedger] = []

    def wrap(store):
        slow.append(SlowLedger(store.database.ledger))
        return dataclasses.replace(store, database=dataclasses.replace(store.database, ledger=slow[0]))

    async with served.opened(wrap=wrap) as api:
        first = asyncio.create_task(api.post("/v1/events", json=served.event("a", event_id="e")))
        await slow[0].asked.wait()
        second = asyncio.create_task(api.post("/v1/events", json=served.event("a", event_id="e")))
        several = asyncio.create_task(api.post("/v1/events", json=[served.event("a", event_id="e")]))
        assert served.problem(await second)[:2] == (409, "event_in_progress")
        assert (await several).status_code == 202
        assert (await several).json()["results"][0]["error"]["reason"] == "event_in_progress"
        slow[0].gate.set()
        assert (await first).status_code == 202


async def test_waiting_answers_200_when_the_change_is_searchable():
    async with served.opened() as api:
        waiting = asyncio.create_task(api.post("/v1/events?wait=searchable&timeout=60", json=served.event("a")))
        await api.until_stored()
        await api.settle()
        answer = await waiting
        assert (answer.status_code, answer.json()["state"]) == (200, "searchable")
        assert answer.json()["live_seq"] == answer.json()["seq"]


async def test_waiting_ends_at_once_for_deletes_and_superseded_changes():
    async with served.opened(ordering=Ordering.SOURCE) as api:
        await api.post("/v1/events", json=served.event("a", source_version=5))
        older = served.event("a", "older", source_version=4)
        answer = await api.post("/v1/events?wait=searchable", json=older)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "superseded")
        assert answer.json()["detail"] == "older_than_current"
        gone = {"change_type": "delete", "document_id": "a", "source_version": 6}
        answer = await api.post("/v1/events?wait=searchable", json=gone)
        assert (answer.status_code, answer.json()["state"]) == (200, "deleted")


async def test_waiting_answers_202_when_time_runs_out():
    async with served.opened() as api:
        waiting = asyncio.create_task(api.post("/v1/events?wait=searchable&timeout=1", json=served.event("a")))
        await api.until_stored()
        api.pipe.clock.advance(2)
        answer = await waiting
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")


async def test_an_event_is_looked_up_with_its_outcome_and_the_state_now():
    async with served.opened() as api:
        await api.post("/v1/events", json=served.event("a", event_id="e", batch_id="night"))
        await api.settle()
        body = (await api.get("/v1/events/e")).json()
        assert (body["outcome"], body["state"], body["batch_id"]) == ("created", "searchable", "night")
        assert served.problem(await api.get("/v1/events/other"))[:2] == (404, "event_not_found")
        missing = await api.get("/v1/events/e?collection=nowhere")
        assert served.problem(missing)[:2] == (404, "collection_not_found")


async def test_a_batch_counts_its_documents_by_state():
    async with served.opened() as api:
        await api.post("/v1/events", json=[served.event(name, batch_id="night") for name in "ab"])
        await api.settle()
        await api.post("/v1/events", json=served.event("c", batch_id="night"))
        body = (await api.get("/v1/batches/night")).json()
        assert (body["total"], body["counts"]["searchable"], body["counts"]["pending"]) == (3, 2, 1)
        assert served.problem(await api.get("/v1/batches/day"))[:2] == (404, "batch_not_found")


async def test_a_batch_tells_a_narrow_key_only_of_its_own_collections():
    async with served.opened() as api:
        await api.put("/v1/collections/other", json={})
        both = [served.event("a", batch_id="b"), served.event("a", batch_id="b", collection="other")]
        await api.post("/v1/events", json=both)
        narrow = await api.key(collections=["other"])
        assert (await api.get("/v1/batches/b", secret=narrow)).json()["total"] == 1
        filtered = await api.key(where={"team": "hr"})
        assert served.problem(await api.get("/v1/batches/b", secret=filtered))[:2] == (404, "batch_not_found")


async def test_a_cloud_event_in_structured_mode_maps_to_an_event():
    async with served.opened() as api:
        event = {
            "specversion": "1.0", "id": "ce-1", "source": "/crm", "type": "com.example.document.created",
            "subject": "a", "time": "2026-11-21T10:00:00+01:00", "unknownextension": 1,
            "data": {"text": "hello there", "title": "T", "metadata": {"team": "hr"}},
        }  # fmt: skip
        answer = await api.send(json.dumps(event).encode(), "application/cloudevents+json")
        assert (answer.status_code, answer.json()["outcome"]) == (202, "created")
        stored = (await api.get(f"{served.HANDBOOK}/a")).json()
        assert (stored["title"], stored["metadata"], stored["occurred_at"]) == (
            "T",
            {"team": "hr"},
            "2026-11-21T09:00:00Z",
        )
        assert (await api.get("/v1/events/ce-1?source=/crm")).json()["outcome"] == "created"


async def test_a_cloud_event_may_carry_its_text_as_data():
    async with served.opened() as api:
        event: dict[str, object] = {"specversion": "1.0", "id": "1", "source": "s", "type": "update", "subject": "a"}
        text = {**event, "datacontenttype": "text/markdown", "data": "# Title"}
        encoded = {**event, "id": "2", "subject": "b", "data_base64": "aGVsbG8="}
        await api.send(json.dumps([text, encoded]).encode(), "application/cloudevents-batch+json")
        markdown = await api.get(f"{served.HANDBOOK}/a/text")
        assert (markdown.text, markdown.headers["x-media-type"]) == ("# Title", "text/markdown")
        assert (await api.get(f"{served.HANDBOOK}/b/text")).text == "hello"


async def test_a_cloud_event_in_binary_mode_has_its_attributes_in_headers():
    async with served.opened(ordering=Ordering.SOURCE) as api:
        headers = {
            "ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "x.upsert",
            "ce-subject": "caf%C3%A9", "ce-sequence": "9223372036854775807",
        }  # fmt: skip
        answer = await api.send(b'{"text": "hello"}', "application/json", headers=headers)
        assert answer.json()["document_id"] == "café"
        plain = await api.send(b"hello", "text/plain", headers={**headers, "ce-id": "2", "ce-subject": "b"})
        assert plain.json()["outcome"] == "created"
        assert (await api.get(f"{served.HANDBOOK}/b")).json()["source_version"] == "9223372036854775807"


async def test_bad_cloud_events_are_refused_with_the_place():
    async with served.opened() as api:
        good = {"specversion": "1.0", "id": "1", "source": "s", "type": "insert", "subject": "a", "data": {"text": "x"}}
        cases: list[tuple[dict[str, object], str]] = [
            ({"specversion": "0.3"}, "/specversion"),
            ({"id": ""}, "/id"),
            ({"source": None}, "/source"),
            ({"subject": 5}, "/subject"),
            ({"subject": "../a"}, "/subject"),
            ({"type": "com.example.renamed"}, "/type"),
            ({"sequence": "-1"}, "/sequence"),
            ({"time": "yesterday"}, "/time"),
            ({"data": {"text": "x", "colour": 1}}, "/data/colour"),
            ({"data": {"text": 5}}, "/data/text"),
            ({"data": "text"}, "/data"),
            ({"data_base64": "eA=="}, "/data_base64"),
            ({"data": {"text": "x", "metadata": {"a": None}}}, "/data/metadata/a"),
        ]
        for change, pointer in cases:
            answer = await api.send(json.dumps({**good, **change}).encode(), "application/cloudevents+json")
            assert served.problem(answer)[2] == [pointer], change
            assert answer.status_code == 422
        binary = {**good, "datacontenttype": "image/png", "data": "x"}
        answer = await api.send(json.dumps(binary).encode(), "application/cloudevents+json")
        assert served.problem(answer)[:2] == (415, "unsupported_media_type")
        assert await api.stored() == []


async def test_the_source_is_part_of_an_events_identity():
    async with served.opened() as api:
        for source in ("a", "b"):
            event = {"specversion": "1.0", "id": "1", "source": source, "type": "insert", "subject": source}
            answer = await api.send(
                json.dumps({**event, "data": {"text": "x"}}).encode(), "application/cloudevents+json"
            )
            assert answer.json()["outcome"] == "created"


async def test_source_versions_order_changes_and_are_answered_as_text():
    async with served.opened(ordering=Ordering.SOURCE) as api:
        missing = await api.post("/v1/events", json=served.event("a"))
        assert served.problem(missing) == (422, "source_version_required", ["/source_version"])
        await api.post("/v1/events", json=served.event("a", source_version="7"))
        equal = await api.post("/v1/events", json=served.event("a", "other", source_version=7))
        assert (equal.json()["outcome"], equal.json()["detail"]) == ("superseded", "equal_source_version")
        same = await api.post("/v1/events", json=served.event("a", source_version=8))
        assert same.json()["outcome"] == "unchanged"
        assert (await api.get(f"{served.HANDBOOK}/a")).json()["source_version"] == "8"


async def test_a_late_insert_behind_a_delete_is_superseded():
    async with served.opened(ordering=Ordering.SOURCE) as api:
        gone = {"change_type": "delete", "document_id": "a", "source_version": 5}
        assert (await api.post("/v1/events", json=gone)).json()["outcome"] == "deleted"
        late = await api.post("/v1/events", json=served.event("a", source_version=4))
        assert (late.json()["outcome"], late.json()["state"]) == ("superseded", "deleted")


async def test_deleting_an_unknown_document_changes_nothing_where_arrival_orders():
    async with served.opened() as api:
        answer = await api.post("/v1/events", json={"change_type": "delete", "document_id": "never"})
        assert (answer.status_code, answer.json()["outcome"]) == (202, "unchanged")
        assert await api.stored() == []


async def test_decisions_are_counted_by_outcome():
    async with served.opened() as api:
        await api.post("/v1/events", json=[served.event("a"), served.event("b", text="")])
        labels = {"op": "upsert", "outcome": "created"}
        assert api.collector.get_sample_value("bloomweaver_webhook_events_total", labels) == 1
        labels = {"op": "upsert", "outcome": "rejected"}
        assert api.collector.get_sample_value("bloomweaver_webhook_events_total", labels) == 1
