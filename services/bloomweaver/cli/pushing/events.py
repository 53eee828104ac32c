"""What is sent: change events made of files, of NDJSON lines, or of standard input, cut into calls of a fair size.

Every event carries an id that stays the same however often the call is repeated, and the batch by which it is followed.
"""

import asyncio
import datetime as dt
import json
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from bloomweaver.cli import failures
from bloomweaver.cli.pushing import planning, reading
from bloomweaver.domain.reasons import Reason

Event: TypeAlias = dict[str, Any]

CALL_EVENTS = 50
CALL_BYTES = 4_000_000
MAX_LINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Naming:
    """What every event of a push has in common. by_source: the collection wants a version of the source."""

    batch_id: str
    collection: str
    by_source: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that could not be sent, or was not taken."""

    name: str
    reason: str
    detail: str


@dataclass(slots=True)
class Call:
    """The events of one request. refused: what could not be read meanwhile."""

    events: list[Event] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it should be sent before anything is added."""
        return len(self.events) >= CALL_EVENTS or self.size_bytes >= CALL_BYTES

    def add(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)
        self.size_bytes += len(event.get("text") or "")


async def of_items(items: Iterable[planning.Item], naming: Naming) -> AsyncIterator[Call]:
    """The calls that send files; each is read when its turn comes."""
    call = Call()
    for number, item in enumerate(items):
        try:
            call.add(_of_item(item, naming, number))
        except reading.Unsuitable as why:
            call.refused.append(Refused(item.document_id, why.reason.value, why.detail))
        if call.full:
            yield call
            call = Call()
            await asyncio.sleep(0)
    if call.events or call.refused:
        yield call


def _of_item(item: planning.Item, naming: Naming, number: int) -> Event:
    event: Event = {
        "event_id": f"{naming.batch_id}:{number}",
        "change_type": "upsert" if item.path else "delete",
        "collection": naming.collection,
        "document_id": item.document_id,
        "batch_id": naming.batch_id,
        "origin": item.origin,
    }
    if item.path is None:
        return {**event, "source_version": time.time_ns()} if naming.by_source else event
    text = reading.read(item.path)
    stamp = reading.stamp_of(item.path)
    event |= {"text": text.text, "media_type": text.media_type}
    if text.title is not None:
        event["title"] = text.title
    if stamp is not None:
        modified = dt.datetime.fromtimestamp(stamp.modified_ns / 1e9, dt.UTC)
        event["occurred_at"] = modified.isoformat(timespec="seconds").replace("+00:00", "Z")
        if naming.by_source:
            event["source_version"] = stamp.modified_ns
    return event


async def of_lines(lines: AsyncIterator[bytes], naming: Naming, *, origin: str, name: str) -> AsyncIterator[Call]:
    """The calls that send events, one JSON object per line."""
    call = Call()
    number = 0
    async for line in lines:
        number += 1
        if not line.strip():
            continue
        try:
            call.add(_of_line(line, naming, number, origin=origin))
        except (ValueError, RecursionError) as error:
            call.refused.append(Refused(f"{name}:{number}", Reason.MALFORMED_JSON.value, str(error)))
        if call.full:
            yield call
            call = Call()
    if call.events or call.refused:
        yield call


def _of_line(line: bytes, naming: Naming, number: int, *, origin: str) -> Event:
    event = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError("a JSON object is required")  # noqa: TRY004 - a line is wrong, not a type of ours
    defaults = {
        "event_id": f"{naming.batch_id}:{number}",
        "change_type": "upsert",
        "collection": naming.collection,
        "batch_id": naming.batch_id,
        "origin": origin,
    }
    return {**defaults, **event}


async def file_lines(path: Path) -> AsyncIterator[bytes]:
    """The lines of a file."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            yield line


async def stdin_lines() -> AsyncIterator[bytes]:
    """The lines of standard input, without keeping Ctrl-C from being heard."""
    source = sys.stdin.buffer
    if not _is_stream(source.fileno):
        while line := source.readline(MAX_LINE_BYTES):
            yield line
        return
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    try:
        while line := await reader.readline():
            yield line
    except ValueError as error:
        raise failures.usage(f"A line is longer than {MAX_LINE_BYTES // 1024 // 1024} MB.") from error
    finally:
        transport.close()


def _is_stream(fileno: Callable[[], int]) -> bool:
    """Whether it is a pipe, a socket or a terminal, which a loop can wait for."""
    try:
        mode = os.fstat(fileno()).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fileno())
    except (OSError, ValueError):
        return False


def of_document(data: bytes, naming: Naming, *, document_id: str, origin: str) -> Event:
    """One document from standard input."""
    text = reading.text_of(data, Path(document_id).suffix)
    return {
        "event_id": f"{naming.batch_id}:0",
        "change_type": "upsert",
        "collection": naming.collection,
        "document_id": document_id,
        "batch_id": naming.batch_id,
        "origin": origin,
        "text": text.text,
        "media_type": text.media_type,
        **({"title": text.title} if text.title else {}),
    }
