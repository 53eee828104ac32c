"""A hint on the wire: one JSON object, the same in every queue.

Compatibility (golden files in tests/golden/wire): a field that a reader does not know is ignored, so that new ones can
be added; a change that an old reader must not overlook raises `v`, and a reader refuses a `v` that it does not know.
"""

import json

from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe, TenantId

VERSION = 1

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class WireError(ValueError):
    """This release cannot read the message: it stays in its queue for one that can, or for the dead letters."""


def encode(hint: Hint) -> str:
    """The message. Fields that are None are left out."""
    fields: dict[str, object] = {
        "v": VERSION,
        "tenant": hint.tenant,
        "collection_uid": hint.collection_uid,
        "doc": hint.document_id,
        "seq": hint.seq,
    }
    if hint.pipe is not None:
        fields["pipe"] = hint.pipe
    if hint.traceparent is not None:
        fields["traceparent"] = hint.traceparent
    if hint.unanswered:
        fields["unanswered"] = hint.unanswered
    return _ENCODER.encode(fields)


def decode(message: str | bytes) -> Hint:
    """The hint in a message, or WireError."""
    try:
        fields = json.loads(message)
    except ValueError as error:
        raise WireError("not JSON") from error
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise WireError(f"not a message of version {VERSION}")
    pipe, traceparent = fields.get("pipe"), fields.get("traceparent")
    return Hint(
        tenant=TenantId(_text(fields, "tenant")),
        collection_uid=CollectionUid(_text(fields, "collection_uid")),
        document_id=DocumentId(_text(fields, "doc")),
        seq=_number(fields, "seq"),
        pipe=Pipe(_text(fields, "pipe")) if pipe is not None else None,
        traceparent=_text(fields, "traceparent") if traceparent is not None else None,
        unanswered=_number(fields, "unanswered") if "unanswered" in fields else 0,
    )


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is no text")
    return value


def _number(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise WireError(f"{name} is no whole number")
    return value
