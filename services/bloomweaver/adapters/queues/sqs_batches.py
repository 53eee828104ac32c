"""Batches of SQS: ten entries to a call, and an answer that says for each whether it was done.

Invariant: a batch that returns was done in whole, except for entries whose failure its caller called harmless. An entry
that failed is tried again by itself, a few times; what was done is not repeated.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bloomweaver.adapters.engines.aws import clients, failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

ENTRIES = 10
ATTEMPTS = 4
CONCURRENT = 16

MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
"""A queue that somebody deleted, in the two ways that SQS says it."""

STALE = frozenset({"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"})
"""Receipts that are no longer valid; also within longer names that end in one of these."""

Entry = dict[str, Any]


class Batches:
    """All batch calls of one client; so many at once that the round trips overlap, and no more."""

    def __init__(self, calls: clients.Calls) -> None:
        self._calls = calls
        self._free = asyncio.Semaphore(CONCURRENT)

    async def run(self, operation: str, url: str, entries: Sequence[Entry], *, harmless: Collection[str] = ()) -> None:
        """`operation` for all entries, which get their `Id` here. Refused where the queue is missing."""
        parts = [entries[start : start + ENTRIES] for start in range(0, len(entries), ENTRIES)]
        if len(parts) == 1:
            await self._part(operation, url, parts[0], harmless)
            return
        done = await asyncio.gather(
            *(self._part(operation, url, part, harmless) for part in parts), return_exceptions=True
        )
        for failed in done:
            if failed is not None:
                raise failed

    async def _part(self, operation: str, url: str, entries: Sequence[Entry], harmless: Collection[str]) -> None:
        left = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        names: set[str] = set()
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(clients.pause_seconds(attempt))
            async with self._free:
                answer = await self._calls.call(operation, {"QueueUrl": url, "Entries": left}, expected=MISSING)
            failed = {one["Id"]: one for one in answer.get("Failed", ()) if _code(one) not in harmless}
            if not failed:
                return
            _refuse_faults(failed.values(), what=self._calls.what)
            left = [entry for entry in left if entry["Id"] in failed]
            names = {_code(one) for one in failed.values()}
        detail = (
            f"{self._calls.what} failed {len(left)} of {len(entries)} entries of a batch, {ATTEMPTS} times "
            f"({', '.join(sorted(names))})."
        )
        raise errors.TransientError(Reason.QUEUE_UNAVAILABLE, detail)


def _refuse_faults(failed: Iterable[Any], *, what: str) -> None:
    """An entry that SQS will never take is our doing, or that of whoever set up the queue; trying again is no use."""
    for one in failed:
        code = _code(one)
        if one.get("SenderFault") and not failures.throttles(code):
            answer = {
                "Error": {"Code": code, "Message": one.get("Message")},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise failures.answered(answer, what=what, unavailable=Reason.QUEUE_UNAVAILABLE)


def _code(failed: Any) -> str:
    return str(failed.get("Code", "unknown")).rpartition(".")[2]
