"""Bodies to items: one event, an array, NDJSON, and CloudEvents in their three modes, all become the same list.

A bad item is that item's refusal and never its neighbours'; a bad envelope (not JSON, too large, too many, empty) is
refused whole, before anything is accepted.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette import requests

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import limits, strict_json
from bloomweaver.webhook import changes, cloudevents, service

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CLOUDEVENT: Final = "application/cloudevents+json"
CLOUDEVENTS: Final = "application/cloudevents-batch+json"
MEDIA_TYPES: Final = (JSON, NDJSON, CLOUDEVENT, CLOUDEVENTS)
ASIDE_BYTES: Final = 1024 * 1024
"""A larger body is read on another thread, so that nobody else's request waits for it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event of a call: a submission, or why it is none. prefix: the pointer to it in the whole body."""

    submission: service.Submission | None
    refusal: errors.Refusal | None = None
    prefix: str = ""
    cloudevent: bool = False

    def pointed(self, refusal: errors.Refusal) -> errors.Refusal:
        """A refusal of this item's submission, with pointers into what the client sent."""
        if self.cloudevent:
            refusal = cloudevents.pointed(refusal)
        return prefixed(refusal, self.prefix)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one call brought. single: it was one event, so that the answer is its result alone."""

    items: Sequence[Item]
    single: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from. source, collection: a signed source's name and its only collection."""

    event_id: str | None = None
    source: str = ""
    collection: str | None = None

    def id_of(self, index: int) -> str | None:
        """The id of item `index` of several that has none of its own."""
        return None if self.event_id is None else f"{self.event_id}:{index}"


def header_event_id(request: requests.Request) -> str | None:
    """`webhook-id`, else `Idempotency-Key`."""
    return limits.header_id(request, "webhook-id") or limits.header_id(request, "idempotency-key")


async def read_body(request: requests.Request) -> tuple[str, bytes]:
    """The media type and the body, within the limit of its kind. The type is one that `parse` knows."""
    if cloudevents.is_binary(request.scope["headers"]):
        essence = limits.media_type(request).name
        if essence not in (CLOUDEVENT, CLOUDEVENTS):
            return essence, await limits.read_body(request, limit_bytes=limits.ONE_EVENT_BYTES)
    else:
        essence = limits.media_type(request, MEDIA_TYPES).name
    largest = limits.ONE_EVENT_BYTES if essence == CLOUDEVENT else limits.SEVERAL_EVENTS_BYTES
    return essence, await limits.read_body(request, limit_bytes=largest)


async def parse(request: requests.Request, essence: str, body: bytes, *, origin: Origin) -> Envelope:
    """The items of a body that `read_body` gave."""
    if len(body) <= ASIDE_BYTES:
        return _parsed(request, essence, body, origin)
    return await asyncio.to_thread(_parsed, request, essence, body, origin)


async def value_of(body: bytes) -> object:
    """The JSON value of a whole body."""
    return strict_json.loads(body) if len(body) <= ASIDE_BYTES else await asyncio.to_thread(strict_json.loads, body)


def _parsed(request: requests.Request, essence: str, body: bytes, origin: Origin) -> Envelope:
    if essence not in (CLOUDEVENT, CLOUDEVENTS) and cloudevents.is_binary(request.scope["headers"]):
        return _single(lambda: _binary(request, essence, body, origin), cloudevent=True)
    if essence == NDJSON:
        return _several(strict_json.lines(body, max_items=limits.MAX_ITEMS), origin)
    if essence == JSON and body.lstrip(b" \t\r\n")[:1] != b"[" and len(body) > limits.ONE_EVENT_BYTES:
        raise errors.Refusal(Reason.TOO_LARGE, f"One event is at most {limits.ONE_EVENT_BYTES} bytes.")
    value = strict_json.loads(body)
    if essence == CLOUDEVENT:
        return _single(lambda: _structured(value, origin), cloudevent=True)
    if isinstance(value, list):
        lines = [strict_json.Line(index, item) for index, item in enumerate(value)]
        return _several(lines, origin, cloudevents=essence == CLOUDEVENTS)
    if essence == CLOUDEVENTS:
        changes.refuse("", "a batch of CloudEvents is a JSON array")
    return _single(lambda: _event(value, origin, origin.event_id))


def prefixed(refusal: errors.Refusal, prefix: str) -> errors.Refusal:
    """The same refusal, pointing from the top of the body."""
    if not prefix:
        return refusal
    pointers = tuple((prefix + pointer, detail) for pointer, detail in refusal.pointers) or ((prefix, refusal.detail),)
    return errors.Refusal(refusal.reason, refusal.detail, pointers=pointers)


def _single(read: Callable[[], service.Submission], *, cloudevent: bool = False) -> Envelope:
    return Envelope([Item(read(), cloudevent=cloudevent)], single=True)


def _several(lines: Sequence[strict_json.Line], origin: Origin, *, cloudevents: bool = False) -> Envelope:
    if not lines:
        changes.refuse("", "there is no event in the body")
    if len(lines) > limits.MAX_ITEMS:
        raise errors.Refusal(Reason.TOO_MANY_ITEMS, f"One call takes at most {limits.MAX_ITEMS} items.")
    return Envelope([_item(line, origin, cloudevent=cloudevents) for line in lines], single=False)


def _item(line: strict_json.Line, origin: Origin, *, cloudevent: bool) -> Item:
    item = Item(None, prefix=f"/{line.index}", cloudevent=cloudevent)
    try:
        if line.error is not None:
            raise line.error
        if cloudevent:
            return replace(item, submission=_structured(line.value, origin))
        return replace(item, submission=_event(line.value, origin, origin.id_of(line.index)))
    except errors.Refusal as refusal:
        return replace(item, refusal=prefixed(refusal, item.prefix))


def _event(value: object, origin: Origin, fallback_id: str | None) -> service.Submission:
    return changes.of_event(value, fallback_id=fallback_id, source=origin.source, collection=origin.collection)


def _structured(value: object, origin: Origin) -> service.Submission:
    return cloudevents.of_structured(value, source=origin.source, collection=origin.collection)


def _binary(request: requests.Request, essence: str, body: bytes, origin: Origin) -> service.Submission:
    return cloudevents.of_binary(
        request.scope["headers"], body, content_type=essence, source=origin.source, collection=origin.collection
    )
