import json

import pytest

from bloomweaver.adapters.queues import wire
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe, TenantId

BARE = Hint(TenantId("acme"), CollectionUid("c0ffee"), DocumentId("leave-policy"), 7)
FULL = Hint(
    BARE.tenant, BARE.collection_uid, DocumentId("größe/😀"), 2**53 - 1, Pipe("0123456789abcdef"), "00-4b-f9-01"
)


@pytest.mark.parametrize("hint", [BARE, FULL])
def test_a_hint_is_read_as_it_was_written(hint):
    assert wire.decode(wire.encode(hint)) == hint
    assert wire.decode(wire.encode(hint).encode()) == hint


def test_fields_of_a_later_release_are_ignored():
    message = json.loads(wire.encode(BARE)) | {"priority": 3, "nested": {"a": [1]}}
    assert wire.decode(json.dumps(message)) == BARE


def test_null_is_the_same_as_absent():
    assert wire.decode(json.dumps(json.loads(wire.encode(BARE)) | {"pipe": None, "traceparent": None})) == BARE


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"v": None}, {"v": "1"}, {"seq": "7"}, {"seq": True}, {"seq": None}, {"doc": 7}, {"tenant": None},
     {"pipe": 1}, {"traceparent": []}],
)  # fmt: skip
def test_a_message_that_is_not_understood_is_refused(change):
    with pytest.raises(wire.WireError):
        wire.decode(json.dumps(json.loads(wire.encode(FULL)) | change))


@pytest.mark.parametrize("message", ["", "{", "[]", "null", '"v"', b"\xff"])
def test_what_is_no_message_is_refused(message):
    with pytest.raises(wire.WireError):
        wire.decode(message)
