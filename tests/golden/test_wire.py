"""Golden files of every version that is still read: messages outlive the release that sent them."""

import pytest

from bloomweaver.adapters.queues import wire
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe, TenantId
from tests.support import golden

BARE = Hint(TenantId("acme"), CollectionUid("c0ffee"), DocumentId("leave-policy"), 7)
FULL = Hint(
    TenantId("acme"),
    CollectionUid("c0ffee"),
    DocumentId("größe/😀"),
    2**53 - 1,
    Pipe("0123456789abcdef"),
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
RENEWED = Hint(TenantId("acme"), CollectionUid("c0ffee"), DocumentId("leave-policy"), 7, unanswered=3)
MESSAGES = {"bare": BARE, "full": FULL, "renewed": RENEWED}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_sent_is_the_golden_message(name):
    golden.check(f"wire/v1/{name}.json", wire.encode(MESSAGES[name]) + "\n")


@pytest.mark.parametrize("name", MESSAGES)
def test_the_golden_message_is_read_as_the_hint(name):
    assert wire.decode((golden.FOLDER / f"wire/v1/{name}.json").read_text(encoding="utf-8")) == MESSAGES[name]
