"""Follows changes until all are searchable or have failed, by asking for counts; never by holding a connection.

Stopping here stops nothing on the server: the same question can be asked again by `bloomweaver wait`.
"""

import asyncio
import contextlib
import urllib.parse
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bloomweaver.cli import failures, wording
from bloomweaver.cli.pushing import progress

if TYPE_CHECKING:
    from bloomweaver.cli import client

FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 1.0
REASON_SECONDS = 2.0
WAITING = {
    "pending": "It waits to be embedded.",
    "indexing": "Its vectors are being written.",
    "updating": "Its new version is on the way; search shows the one before.",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How following ended: counts by state, and whether time ran out."""

    counts: Counter[str]
    seconds: float
    timed_out: bool
    batch: str | None = None

    @property
    def waiting(self) -> int:
        """Documents that are still on their way."""
        return sum(self.counts[state] for state in WAITING)

    @property
    def code(self) -> failures.ExitCode:
        """The exit code that it means."""
        if self.counts["failed"]:
            return failures.ExitCode.FAILED
        return failures.ExitCode.IN_PROGRESS if self.timed_out else failures.ExitCode.OK

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        done = not self.timed_out
        return {"batch_id": self.batch, "done": done, "counts": dict(self.counts), "seconds": round(self.seconds, 3)}

    def sentence(self) -> str:
        """For a person."""
        told = [f"{self.counts['searchable']:,} searchable"]
        told += [f"{self.counts['deleted']:,} deleted"] if self.counts["deleted"] else []
        told += (
            [f"{self.counts['failed']:,} failed (`bloomweaver dead-letters` says why)"] if self.counts["failed"] else []
        )
        if self.timed_out:
            told.append(f"{self.waiting:,} still on their way")
        lead = "Time is up after" if self.timed_out else "Done in"
        return f"{lead} {wording.age(self.seconds)}: {', '.join(told)}."


class Watched(Protocol):
    """What is followed."""

    async def counts(self, api: "client.Api") -> Counter[str]:
        """Documents by state now."""
        ...

    async def reason(self, api: "client.Api") -> str:
        """What the oldest of those that wait waits for, as far as that can be said."""
        ...


class Batches:
    """The documents of some batches."""

    def __init__(self, names: Iterable[str], *, collection: str | None = None, lenient: bool = False) -> None:
        self.names = names
        self._collection = collection
        self._lenient = lenient

    async def counts(self, api: "client.Api") -> Counter[str]:
        """See Watched. lenient: a batch of which nothing has arrived yet is no failure."""
        total: Counter[str] = Counter()
        for name in sorted(self.names):
            try:
                total.update((await api.get(f"/v1/batches/{_quoted(name)}"))["counts"])
            except failures.Failure as failure:
                if not self._lenient or failure.reason != "batch_not_found":
                    raise
        return total

    async def reason(self, api: "client.Api") -> str:
        """See Watched."""
        return "" if self._collection is None else await reason_in(api, self._collection)


class Everything:
    """All documents of a collection, or of all collections."""

    def __init__(self, collection: str | None) -> None:
        self._collection = collection

    async def counts(self, api: "client.Api") -> Counter[str]:
        """See Watched."""
        from bloomweaver.cli import client

        if self._collection is not None:
            return Counter((await api.get(client.collection_path(self._collection)))["counts"])
        total: Counter[str] = Counter()
        async for item in api.pages("/v1/collections"):
            total.update(item["counts"])
        return total

    async def reason(self, api: "client.Api") -> str:
        """See Watched."""
        return "" if self._collection is None else await reason_in(api, self._collection)


async def reason_in(api: "client.Api", collection: str) -> str:
    """What a document of a collection waits for."""
    from bloomweaver.cli import client

    for state, otherwise in WAITING.items():
        page = await api.get(client.collection_path(collection, "documents"), state=state, limit=1)
        for item in page["items"]:
            meaning = failures.meaning_of(item.get("reason") or "") or otherwise
            return f"waiting {wording.age(item['age_seconds'])}: {meaning}"
    return ""


async def follow(
    api: "client.Api",
    watched: Watched,
    *,
    bars: progress.Bars,
    timeout_seconds: float | None,
    sent: asyncio.Event | None = None,
) -> Ended:
    """Ask until nothing waits. sent: set when no more changes will come; timeout_seconds count from then."""
    clock = asyncio.get_running_loop().time
    began = clock()
    deadline: float | None = None
    pause, reason, asked_at = FIRST_POLL_SECONDS, "", began
    while True:
        complete = sent is None or sent.is_set()
        if complete and deadline is None:
            deadline = float("inf") if timeout_seconds is None else clock() + timeout_seconds
        counts = await api.patiently(lambda: watched.counts(api), on_pause=bars.pausing)
        waiting = sum(counts[state] for state in WAITING)
        if waiting and clock() - asked_at >= REASON_SECONDS:
            reason, asked_at = await api.patiently(lambda: watched.reason(api)), clock()
        total = sum(counts.values())
        bars.followed(total - waiting, total, reason if waiting else "")
        if complete and not waiting:
            return Ended(counts, clock() - began, timed_out=False)
        if deadline is not None and clock() >= deadline:
            return Ended(counts, clock() - began, timed_out=True)
        await _rest(pause, sent if not complete else None, deadline, clock())
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)


async def _rest(pause: float, sent: asyncio.Event | None, deadline: float | None, now: float) -> None:
    """Until the next question is due."""
    seconds = pause if deadline is None else max(0.0, min(pause, deadline - now))
    if sent is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(sent.wait(), seconds)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
