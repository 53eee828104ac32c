"""An embedder measures itself while it works, and leaves what it found where whoever sizes the next pods reads it.

Nothing is tried out for it: what counts is the work there was. Too little of it says nothing, and a finding that
resembles the last one is not written again.
"""

from collections.abc import Callable, Sequence
from typing import Final

from bloomweaver.domain import measured
from bloomweaver.domain.events import Hint
from bloomweaver.encoding import figures
from bloomweaver.ports import blobs, clock, queues

LEAST_CHUNKS: Final = 64
LEAST_SECONDS: Final = 1.0
OLD_SECONDS: Final = 60.0
"""Others of the space may write at the same time: only what is older than that is superseded for sure."""


class Measuring:
    """figures: of the lane that embeds documents, as it counts on. seconds: a monotonic clock."""

    def __init__(
        self,
        blobs: blobs.Blobs,
        figures: Callable[[], figures.Figures],
        *,
        deployment: str,
        space: str,
        nonces: clock.Nonces,
        seconds: Callable[[], float],
    ) -> None:
        self._blobs = blobs
        self._figures = figures
        self._deployment = deployment
        self._space = space
        self._nonces = nonces
        self._seconds = seconds
        self._chunks, self._busy_seconds, self._longest_seconds = 0, 0.0, 0.0
        self._told: measured.Measured | None = None

    def watched(self, worker: queues.Worker) -> queues.Worker:
        """The same worker, timed."""
        return _Watched(worker, self._took, seconds=self._seconds)

    async def publish(self) -> None:
        """Tell what was found since, if it says something new."""
        found = self._found()
        if found is None or (self._told is not None and found.resembles(self._told)):
            return
        await self._blobs.put(
            measured.key_of(self._deployment, self._space, nonce=self._nonces.nonce()), measured.encode(found)
        )
        self._told = found
        listing = self._blobs.list(measured.folder(self._deployment, self._space))
        await self._blobs.delete([blob.key async for blob in listing if blob.age_seconds > OLD_SECONDS])

    def _took(self, seconds: float) -> None:
        self._longest_seconds = max(self._longest_seconds, seconds)

    def _found(self) -> measured.Measured | None:
        now = self._figures()
        chunks, busy_seconds = now.passages_total - self._chunks, now.busy_seconds_total - self._busy_seconds
        if chunks < LEAST_CHUNKS or busy_seconds < LEAST_SECONDS:
            return None
        found = measured.Measured(max(1, round(chunks / busy_seconds)), max(1, round(self._longest_seconds)))
        self._chunks, self._busy_seconds = now.passages_total, now.busy_seconds_total
        self._longest_seconds = 0.0
        return found


class _Watched:
    def __init__(self, worker: queues.Worker, took: Callable[[float], None], *, seconds: Callable[[], float]) -> None:
        self._worker = worker
        self._took = took
        self._seconds = seconds

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        began = self._seconds()
        try:
            return await self._worker.work(hints)
        finally:
            self._took(self._seconds() - began)
