"""Whether a lane has work, and for how many workers: from the ledger's backlog, and from nothing that could be wrong.

Invariants: a lane is active while anything of it waits in the ledger, and a little longer, so that a poll cannot miss a
burst; what the queues say of themselves never wakes anybody; numbers that are too old are not given out at all, so that
KEDA's fallback takes over.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bloomweaver.domain.documents import Backlog
from bloomweaver.domain.measured import Measured
from bloomweaver.ports import clock as clocks

LINGER_SECONDS: Final = 15.0
AHEAD_SECONDS: Final = 60.0
"""The writer that a change leads to starts with the embedder, within so long after the change began to wait."""
STALE_SECONDS: Final = 30.0
BYTES_PER_CHUNK: Final = 800
DRAIN_SECONDS: Final = 120
UNMEASURED: Final[Mapping[str, int]] = {"change": 50, "create": 300, "update": 300, "delete": 300}
"""Chunks a second of one pod, until pods have measured themselves."""


@dataclass(frozen=True, slots=True)
class Size:
    """chunks waiting, and how many of them one pod finishes in time: KEDA divides one by the other."""

    chunks: int
    per_pod: int


class Stale(Exception):
    """The ledger has not answered for too long."""


def chunks_of(backlog: Backlog) -> int:
    """At least one a document."""
    return max(backlog.documents, backlog.bytes // BYTES_PER_CHUNK)


class Board:
    """What waits in every lane, as of the last look at the ledger."""

    def __init__(self, *, clock: clocks.Clock) -> None:
        self._clock = clock
        self._backlog: dict[str, Backlog] = {}
        self._seen: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._speeds: dict[str, int] = {}
        self._looked: float | None = None
        self._changed = asyncio.Event()

    def note(self, backlogs: Iterable[Backlog]) -> None:
        """The ledger was asked."""
        now = self._clock.monotonic()
        self._backlog = {each.lane: each for each in backlogs}
        self._seen |= dict.fromkeys(self._backlog, now)
        self._begun = {lane: self._begun.get(lane, now) for lane in self._backlog if lane.startswith("change:")}
        ahead = [self._backlog[lane] for lane, begun in self._begun.items() if now - begun < AHEAD_SECONDS]
        if any(waiting.new for waiting in ahead):
            self._seen["create"] = now
        if any(waiting.shown for waiting in ahead):
            self._seen["update"] = now
        self._looked = now
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def measured(self, found: Mapping[str, Measured]) -> None:
        """What pods have found of themselves, by vector space."""
        self._speeds = {f"change:{space}": each.chunks_per_second for space, each in found.items()}

    def active(self, lane: str) -> bool:
        """Whether workers have to run; Stale where nobody can say."""
        self._require_fresh()
        seen = self._seen.get(lane)
        return seen is not None and (lane in self._backlog or self._clock.monotonic() - seen < LINGER_SECONDS)

    def size(self, lane: str, *, drain_seconds: int = DRAIN_SECONDS) -> Size:
        """How much waits; Stale where nobody can say. What lingers counts as one chunk, which keeps one pod."""
        waiting = self._backlog.get(lane)
        chunks = chunks_of(waiting) if waiting is not None else int(self.active(lane))
        self._require_fresh()
        return Size(chunks, self.per_pod(lane, drain_seconds=drain_seconds))

    def per_pod(self, lane: str, *, drain_seconds: int = DRAIN_SECONDS) -> int:
        """Chunks that one pod finishes in that time."""
        speed = self._speeds.get(lane) or UNMEASURED.get(lane.partition(":")[0], 1)
        return max(1, speed * drain_seconds)

    def waiting(self, lane: str) -> int:
        """Documents."""
        backlog = self._backlog.get(lane)
        return 0 if backlog is None else backlog.documents

    async def change(self) -> None:
        """Until the ledger was asked again."""
        await self._changed.wait()

    def _require_fresh(self) -> None:
        if self._looked is None or self._clock.monotonic() - self._looked > STALE_SECONDS:
            raise Stale("the ledger has not answered; nothing is known about what waits")
