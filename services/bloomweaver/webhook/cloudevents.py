"""CloudEvents 1.0 to events of our own shape: a mapping of names and no more, so the checks are those of `changes`.

structured: attributes and data are members of one JSON object. binary: attributes are `ce-*` headers, the body is the
data. Extensions other than `sequence` and `collection` are ignored, as the specification wants it.
"""

import base64
import binascii
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Final

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import strict_json
from bloomweaver.webhook import changes, service

# Where the fields of our own shape come from: what a refusal points at.
NAMES: Final[Mapping[str, str]] = {
    "event_id": "/id",
    "document_id": "/subject",
    "change_type": "/type",
    "source_version": "/sequence",
    "occurred_at": "/time",
    "collection": "/collection",
}
DATA_FIELDS: Final = frozenset(
    {"text", "media_type", "title", "url", "metadata", "batch_id", "collection", "source_version", "origin"}
)

_CHANGES: Final[Mapping[str, str]] = {
    "insert": "insert",
    "update": "update",
    "upsert": "upsert",
    "delete": "delete",
    "created": "insert",
    "updated": "update",
    "deleted": "delete",
}


def of_structured(value: object, *, source: str = "", collection: str | None = None) -> service.Submission:
    """The submission of one event in structured mode. source: a signed source's name, put before the event's own."""
    if not isinstance(value, dict):
        changes.refuse("", "a CloudEvent is a JSON object")
    if "data" in value and "data_base64" in value:
        changes.refuse("/data_base64", "an event has data or data_base64, not both")
    content_type = value.get("datacontenttype")
    if content_type is not None and not isinstance(content_type, str):
        changes.refuse("/datacontenttype", "a string is required")
    if "data_base64" in value:
        rest = _from_bytes(_decoded(value["data_base64"]), content_type or "text/plain", "/data_base64")
    else:
        rest = _from_value(value.get("data"), content_type or "application/json", "/data")
    return _event(value, rest, source=source, collection=collection)


def of_binary(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    *,
    content_type: str,
    source: str = "",
    collection: str | None = None,
) -> service.Submission:
    """The submission of one event in binary mode."""
    attributes: dict[str, object] = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            key = name[3:].decode("latin-1")
            if key in attributes:
                changes.refuse(f"/{key}", "an attribute is given once")
            attributes[key] = _percent_decoded(value, key)
    rest = _from_bytes(body, content_type, "") if body else {}
    return _event(attributes, rest, source=source, collection=collection)


def is_binary(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the request's headers carry an event's attributes."""
    return any(name == b"ce-specversion" for name, _ in headers)


def _event(
    attributes: Mapping[str, object], rest: Mapping[str, object], *, source: str, collection: str | None
) -> service.Submission:
    if attributes.get("specversion") != "1.0":
        changes.refuse("/specversion", "'1.0' is the version that is read here")
    own_source = _required(attributes, "source")
    unknown = rest.keys() - DATA_FIELDS
    if unknown:
        changes.refuse(f"/data/{min(unknown)}", "an unknown field")
    event = dict(rest)
    event["event_id"] = _required(attributes, "id")
    event["document_id"] = _required(attributes, "subject")
    event["change_type"] = _change(_required(attributes, "type"))
    event["occurred_at"] = attributes.get("time")
    if attributes.get("sequence") is not None:
        if rest.get("source_version") is not None:
            changes.refuse("/data/source_version", "the extension sequence says it already")
        event["source_version"] = attributes["sequence"]
    named = attributes.get("collection")
    if named is not None:
        if rest.get("collection", named) != named:
            changes.refuse("/data/collection", "the extension collection says another")
        event["collection"] = named
    try:
        return changes.of_event(event, source=f"{source}/{own_source}" if source else own_source, collection=collection)
    except errors.Refusal as refusal:
        raise pointed(refusal) from None


def pointed(refusal: errors.Refusal) -> errors.Refusal:
    """The same refusal of our own shape's field, pointing at where the CloudEvent has it."""
    pointers = tuple((_pointer(pointer), detail) for pointer, detail in refusal.pointers)
    return errors.Refusal(refusal.reason, refusal.detail, pointers=pointers)


def _pointer(pointer: str) -> str:
    _, _, first = pointer.partition("/")
    return NAMES.get(first, f"/data{pointer}")


def _required(attributes: Mapping[str, object], name: str) -> str:
    value = changes.name_of(attributes.get(name), f"/{name}")
    if value is None:
        changes.refuse(f"/{name}", "this attribute is required")
    return value


def _change(kind: str) -> str:
    change = _CHANGES.get(kind.rpartition(".")[2])
    if change is None:
        changes.refuse("/type", f"its last segment is one of {', '.join(_CHANGES)}")
    return change


def _from_value(data: object, content_type: str, pointer: str) -> Mapping[str, object]:
    essence = changes.media_type_of(content_type)
    if data is None:
        return {}
    if _is_json(essence):
        if not isinstance(data, dict):
            changes.refuse(pointer, "JSON data is an object")
        return data
    if not essence.startswith("text/"):
        changes.refuse("/datacontenttype", "JSON, or a text type, is what is read here", Reason.UNSUPPORTED_MEDIA_TYPE)
    if not isinstance(data, str):
        changes.refuse(pointer, "data of a text type is a string")
    return {"text": data, "media_type": essence}


def _from_bytes(data: bytes, content_type: str, pointer: str) -> Mapping[str, object]:
    if _is_json(changes.media_type_of(content_type)):
        return _from_value(strict_json.loads(data), content_type, pointer)
    try:
        return _from_value(data.decode("utf-8"), content_type, pointer)
    except UnicodeDecodeError:
        changes.refuse(pointer, "the data is not UTF-8")


def _is_json(essence: str) -> bool:
    return essence == "application/json" or essence.endswith("+json")


def _decoded(value: object) -> bytes:
    if not isinstance(value, str):
        changes.refuse("/data_base64", "a string is required")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        changes.refuse("/data_base64", "base64 is required")


def _percent_decoded(value: bytes, key: str) -> str:
    try:
        return urllib.parse.unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        changes.refuse(f"/{key}", "the attribute is not UTF-8")
