"""A parsed event becomes a Submission, field by field and by hand: every accept passes here, so it has to be quick.

The schema that clients read (`schemas.events.Event`) says the same; a test holds the two together. What only the
collection or the text itself can tell (its media type, its size, whether a source version is wanted) is checked by the
service. Invariant: unknown fields and wrong types are refused with a pointer, never ignored and never converted.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final, NoReturn

from bloomweaver.domain import errors, identity, metadata
from bloomweaver.domain.documents import Meta
from bloomweaver.domain.events import ChangeType, MetaPatch
from bloomweaver.domain.reasons import Reason
from bloomweaver.webhook import service

MAX_ID_BYTES: Final = 512
MAX_TITLE_CHARACTERS: Final = 2000
MAX_URL_CHARACTERS: Final = 4096
DOCUMENT_FIELDS: Final = frozenset(
    {"source_version", "text", "media_type", "occurred_at", "batch_id", "title", "url", "metadata", "origin"}
)
EVENT_FIELDS: Final = DOCUMENT_FIELDS | {"event_id", "change_type", "collection", "document_id"}
PATCH_FIELDS: Final = frozenset({"title", "url", "metadata"})

_CHANGE_TYPES: Final = {kind.value: kind for kind in ChangeType}
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def of_event(
    value: object, *, fallback_id: str | None = None, source: str = "", collection: str | None = None
) -> service.Submission:
    """The submission of one event. collection: the only one that may be named (a signed source's)."""
    fields = _object(value, EVENT_FIELDS)
    kind = fields.get("change_type")
    change_type = _CHANGE_TYPES.get(kind) if isinstance(kind, str) else None
    if change_type is None:
        refuse("/change_type", f"one of {', '.join(_CHANGE_TYPES)}")
    document_id = fields.get("document_id")
    if not isinstance(document_id, str):
        refuse("/document_id", "a string is required")
    return _submission(
        fields,
        collection=_collection(fields.get("collection"), collection),
        document_id=document_id,
        change_type=change_type,
        event_id=name_of(fields.get("event_id"), "/event_id") or fallback_id,
        source=source,
    )


def of_document(value: object, *, collection: str, document_id: str, event_id: str | None = None) -> service.Submission:
    """The submission of a PUT, whose ids stand in its path."""
    return _submission(
        _object(value, DOCUMENT_FIELDS),
        collection=collection,
        document_id=document_id,
        change_type=ChangeType.UPSERT,
        event_id=event_id,
        source="",
    )


def of_patch(value: object) -> MetaPatch:
    """The merge of a PATCH: null empties a field, null inside metadata removes that key."""
    fields = _object(value, PATCH_FIELDS)
    if not fields:
        refuse("", f"at least one of {', '.join(sorted(PATCH_FIELDS))}")
    merge = fields.get("metadata", {})
    if not isinstance(merge, Mapping):
        refuse("/metadata", "metadata is a JSON object")
    removed = [key for key, item in merge.items() if item is None]
    for key in removed:
        if not metadata.is_key(key):
            refuse(f"/metadata/{metadata.escape(key)}", "not the name of a metadata field", Reason.INVALID_METADATA)
    given = metadata_of({key: item for key, item in merge.items() if item is not None})
    return MetaPatch(
        title=text_of(fields.get("title"), "/title", longest=MAX_TITLE_CHARACTERS),
        url=text_of(fields.get("url"), "/url", longest=MAX_URL_CHARACTERS),
        metadata={**given, **dict.fromkeys(removed)} if "metadata" in fields else None,
        clear_title="title" in fields and fields["title"] is None,
        clear_url="url" in fields and fields["url"] is None,
    )


def _submission(
    fields: Mapping[str, object],
    *,
    collection: str,
    document_id: str,
    change_type: ChangeType,
    event_id: str | None,
    source: str,
) -> service.Submission:
    get = fields.get
    deletes = change_type is ChangeType.DELETE
    text = get("text")
    if text is not None and not isinstance(text, str):
        refuse("/text", "a string is required")
    meta = Meta(
        title=text_of(get("title"), "/title", longest=MAX_TITLE_CHARACTERS),
        url=text_of(get("url"), "/url", longest=MAX_URL_CHARACTERS),
        metadata=metadata_of(get("metadata")),
    )
    return service.Submission(
        collection=collection,
        document_id=document_id,
        change_type=change_type,
        # Feeds of changes often carry what was deleted; it is nobody's wish to keep it.
        text=None if deletes else text,
        media_type=media_type_of(get("media_type")),
        meta=Meta() if deletes else meta,
        source_version=source_version_of(get("source_version")),
        event_id=event_id,
        source=source,
        batch_id=name_of(get("batch_id"), "/batch_id"),
        occurred_at=time_of(get("occurred_at"), "/occurred_at"),
        origin=text_of(get("origin"), "/origin", longest=MAX_ID_BYTES) or "",
    )


def _object(value: object, known: frozenset[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        refuse("", "a JSON object is required")
    unknown = value.keys() - known
    if unknown:
        pointers = tuple((f"/{metadata.escape(name)}", "an unknown field") for name in sorted(unknown))
        raise errors.Refusal(Reason.INVALID_REQUEST, "There is a field that is not known here.", pointers=pointers)
    return value


def _collection(value: object, only: str | None) -> str:
    if value is None:
        return only or identity.DEFAULT_COLLECTION
    if not isinstance(value, str):
        refuse("/collection", "a string is required")
    if only is not None and value != only:
        refuse("/collection", "this source sends to another collection")
    return value


def text_of(value: object, pointer: str, *, longest: int) -> str | None:
    """An optional short text without control characters."""
    if value is None:
        return None
    if not isinstance(value, str):
        refuse(pointer, "a string is required")
    if len(value) > longest:
        refuse(pointer, f"at most {longest} characters")
    if not value.isprintable() and any(ord(sign) < 32 or 127 <= ord(sign) <= 159 for sign in value):
        refuse(pointer, "no control characters")
    return value


def name_of(value: object, pointer: str) -> str | None:
    """An optional id of the client's: printable, and short enough to be asked for in a path."""
    if value is None:
        return None
    if not isinstance(value, str):
        refuse(pointer, "a string is required")
    if not value or not value.isprintable() or len(value.encode()) > MAX_ID_BYTES:
        refuse(pointer, f"1 to {MAX_ID_BYTES} bytes without control characters")
    return value


def media_type_of(value: object) -> str:
    """The essence of a media type, in lower case."""
    if value is None:
        return "text/plain"
    if not isinstance(value, str):
        refuse("/media_type", "a string is required")
    return value.partition(";")[0].strip().lower()


def metadata_of(value: object) -> Mapping[str, metadata.Value]:
    """Checked metadata; pointers lead there from the top."""
    if value is None:
        return {}
    try:
        return metadata.check(value)
    except metadata.MetadataError as error:
        refuse(f"/metadata{error.pointer}", error.detail, Reason.INVALID_METADATA)


def source_version_of(value: object) -> int | None:
    """An integer or a string of digits, 0 to 2^63-1."""
    if value is None:
        return None
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= identity.MAX_SOURCE_VERSION:
        refuse("/source_version", "an integer or a string of digits from 0 to 2^63-1")
    return number


def time_of(value: object, pointer: str) -> str | None:
    """An optional RFC 3339 time, in UTC."""
    return None if value is None else _moment(value, pointer).isoformat().replace("+00:00", "Z")


def moment_of(value: object, pointer: str) -> float:
    """An RFC 3339 time as seconds since the epoch."""
    return _moment(value, pointer).timestamp()


def _moment(value: object, pointer: str) -> dt.datetime:
    detail = "an RFC 3339 time with a zone is required, as in 2026-11-21T09:00:00Z"
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        refuse(pointer, detail)
    try:
        return dt.datetime.fromisoformat(value.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        refuse(pointer, detail)


def refuse(pointer: str, detail: str, reason: Reason = Reason.INVALID_REQUEST) -> NoReturn:
    """Refuse one field."""
    name = pointer.lstrip("/")[:100] or "The body"
    raise errors.Refusal(reason, f"{name}: {detail}.", pointers=((pointer, detail),))
