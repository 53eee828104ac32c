"""Sends calls of change events, several at once, and keeps the account of what became of each event.

A call is repeated while the server is busy or away; its events carry their ids, so a repeated one is a duplicate and
not a second change. What was acknowledged is durable: stopping in the middle loses nothing.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bloomweaver.cli import failures
from bloomweaver.cli.pushing import events, progress

if TYPE_CHECKING:
    from bloomweaver.cli import client

IN_PROGRESS = "event_in_progress"
IN_PROGRESS_TRIES = 5


@dataclass(slots=True)
class Report:
    """The account. acknowledged: decided and durable, whatever the outcome. batches: all that the events named."""

    acknowledged: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[events.Refused] = field(default_factory=list)
    batches: set[str] = field(default_factory=set)


class Sender:
    """Sends the calls of one push."""

    def __init__(self, api: "client.Api", *, report: Report, bars: progress.Bars, concurrency: int) -> None:
        self._api = api
        self._report = report
        self._bars = bars
        self._slots = asyncio.Semaphore(concurrency)

    async def send(self, calls: AsyncIterator[events.Call]) -> None:
        """Send everything; raises the first failure that is not one event's."""
        try:
            async with asyncio.TaskGroup() as group:
                async for call in calls:
                    self._refuse(call.refused)
                    if call.events:
                        await self._slots.acquire()
                        group.create_task(self._send_and_release(call.events))
        except BaseExceptionGroup as several:  # `except*` would, before Python 3.11.4, put what it raises into a group
            failed, others = several.split(failures.Failure)
            if failed is None or others is not None:
                raise
            raise _first(failed) from None

    async def _send_and_release(self, batch: list[events.Event]) -> None:
        try:
            await self._send(batch)
        finally:
            self._slots.release()

    async def _send(self, batch: list[events.Event]) -> None:
        for attempt in range(IN_PROGRESS_TRIES):
            if attempt:
                await asyncio.sleep(1.0)
            batch = await self._try(batch, last=attempt == IN_PROGRESS_TRIES - 1)
            if not batch:
                return

    async def _try(self, batch: list[events.Event], *, last: bool) -> list[events.Event]:
        """Send once; gives the events that are still being decided on another connection."""
        self._report.batches.update(event["batch_id"] for event in batch if isinstance(event.get("batch_id"), str))
        try:
            answer = await self._api.patiently(lambda: self._api.post("/v1/events", batch), on_pause=self._bars.pausing)
        except failures.Failure as failure:
            if failure.code in (failures.ExitCode.UNREACHABLE, failures.ExitCode.NOT_ALLOWED):
                raise
            self._refuse(
                [events.Refused(name_of(event), failure.reason, failure.why or failure.what) for event in batch]
            )
            return []
        self._bars.pausing("", 0.0)
        return self._account(batch, answer, last=last)

    def _account(self, batch: list[events.Event], answer: Mapping[str, Any], *, last: bool) -> list[events.Event]:
        again = []
        for event, result in zip(batch, answer["results"], strict=True):
            error = result.get("error")
            if error is None:
                outcome = result["outcome"]
                self._report.outcomes[result.get("original_outcome") or outcome] += 1
                self._report.acknowledged += 1
                self._bars.acknowledged(1)
            elif error.get("reason") == IN_PROGRESS and not last:
                again.append(event)
            else:
                self._refuse([events.Refused(name_of(event), str(error.get("reason")), str(error.get("detail")))])
        return again

    def _refuse(self, refused: list[events.Refused]) -> None:
        self._report.refused.extend(refused)
        self._bars.refused(len(refused))


async def one_call(call: events.Call) -> AsyncIterator[events.Call]:
    """A single call as what `send` takes."""
    yield call


def name_of(event: Mapping[str, Any]) -> str:
    """How a person knows an event."""
    return f"{event.get('collection')}/{event.get('document_id')}"


def _first(group: BaseExceptionGroup[failures.Failure]) -> failures.Failure:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, failures.Failure)
    return found
