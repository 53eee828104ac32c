"""Events read by hand say the same as the schema that clients read."""

import contextlib
import json
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from bloomweaver.domain import errors
from bloomweaver.domain.events import ChangeType
from bloomweaver.webhook import changes, cloudevents
from bloomweaver.webhook.schemas import events as schemas

EVENT = {"change_type": "update", "document_id": "a", "text": "words"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def refused_with_a_place(read: Callable[[], object]) -> bool:
    """Whether it was read, or refused with a pointer; any other error goes on."""
    try:
        read()
    except errors.Refusal as refusal:
        return bool(refusal.pointers)
    return True


def test_the_schema_and_the_hand_written_reader_know_the_same_fields():
    assert set(schemas.Event.model_fields) == changes.EVENT_FIELDS
    assert set(schemas.Document.model_fields) == changes.DOCUMENT_FIELDS
    assert set(schemas.Patch.model_fields) == changes.PATCH_FIELDS


def test_a_full_event_becomes_a_submission_field_by_field():
    submission = changes.of_event(
        {
            **EVENT, "event_id": "e", "collection": "c", "source_version": "17", "media_type": "Text/Markdown; x=y",
            "occurred_at": "2026-11-21T10:00:00.5+01:00", "batch_id": "b", "title": "T", "url": "u", "origin": "o",
            "metadata": {"tags": ["x", "y"]},
        }
    )  # fmt: skip
    assert (submission.event_id, submission.collection, submission.source_version) == ("e", "c", 17)
    assert (submission.media_type, submission.occurred_at) == ("text/markdown", "2026-11-21T09:00:00.500000Z")
    assert (submission.batch_id, submission.origin, submission.change_type) == ("b", "o", ChangeType.UPDATE)
    assert (submission.meta.title, submission.meta.url) == ("T", "u")
    assert submission.meta.metadata == {"tags": ("x", "y")}


def test_what_is_left_out_or_null_takes_its_default():
    optional = dict.fromkeys(changes.EVENT_FIELDS - {"change_type", "document_id", "text"})
    assert changes.of_event(EVENT) == changes.of_event({**EVENT, **optional})
    assert changes.of_event(EVENT).collection == "default"


def test_a_delete_keeps_nothing_of_what_was_deleted():
    submission = changes.of_event({**EVENT, "change_type": "delete", "title": "secret"})
    assert (submission.text, submission.meta.title) == (None, None)


def test_an_event_without_id_takes_the_calls():
    assert changes.of_event(EVENT, fallback_id="header").event_id == "header"
    assert changes.of_event({**EVENT, "event_id": "own"}, fallback_id="header").event_id == "own"


@pytest.mark.parametrize("time", ["2026-11-21", "2026-11-21T09:00:00", "2026-13-01T00:00:00Z", "20261121T090000Z", 5])
def test_times_that_are_not_rfc_3339_are_refused(time):
    with pytest.raises(errors.Refusal) as caught:
        changes.of_event({**EVENT, "occurred_at": time})
    assert caught.value.pointers[0][0] == "/occurred_at"


@hypothesis.given(st.dictionaries(st.sampled_from(sorted(changes.EVENT_FIELDS)), ANYTHING))
@hypothesis.settings(max_examples=60)
def test_whatever_is_sent_becomes_a_submission_or_a_refusal_with_a_pointer(fields):
    assert refused_with_a_place(lambda: changes.of_event({**EVENT, **fields}))


@hypothesis.given(ANYTHING)
@hypothesis.settings(max_examples=60)
def test_whatever_is_sent_as_a_patch_becomes_one_or_a_refusal(value):
    assert refused_with_a_place(lambda: changes.of_patch({"metadata": value}))


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(
            ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "sequence", "data"]
        ),
        ANYTHING,
    )
)
@hypothesis.settings(max_examples=60)
def test_whatever_is_sent_as_a_cloud_event_becomes_a_submission_or_a_refusal(fields):
    good = {"specversion": "1.0", "id": "1", "source": "s", "type": "insert", "subject": "a", "data": {"text": "x"}}
    assert refused_with_a_place(lambda: cloudevents.of_structured({**good, **fields}))


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from([b"ce-id", b"ce-type", b"ce-subject", b"ce-x"]), st.binary(max_size=20))),
    st.binary(max_size=40),
    st.sampled_from(["application/json", "text/plain", "image/png"]),
)
@hypothesis.settings(max_examples=60)
def test_whatever_is_sent_in_binary_mode_becomes_a_submission_or_a_refusal(headers, body, content_type):
    sent = [(b"ce-specversion", b"1.0"), *headers]
    with contextlib.suppress(errors.Refusal):
        cloudevents.of_binary(sent, body, content_type=content_type)


@pytest.mark.parametrize(
    ("kind", "change"),
    [("created", "insert"), ("a.b.updated", "update"), ("x.deleted", "delete"), ("upsert", "upsert")],
)
def test_the_last_segment_of_a_cloud_events_type_is_the_change(kind, change):
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": kind, "subject": "a", "data": {"text": "x"}}
    assert cloudevents.of_structured(json.loads(json.dumps(event))).change_type == change
