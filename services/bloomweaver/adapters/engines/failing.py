"""What a failed try changes and what the timeline says of it: asked by every ledger, written by each in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass

from bloomweaver.domain import steps, trying
from bloomweaver.domain.documents import Generation, Row, Version
from bloomweaver.ports import history, ledger


@dataclass(frozen=True, slots=True)
class Judged:
    """delay_seconds: until the next try, None where there is none. failed, step: to be written, if anything changes."""

    delay_seconds: float | None
    failed: trying.Failed | None = None
    step: history.TimelineStep | None = None


def judged(
    row: Row, versions: Sequence[Version], generation: Generation, failure: ledger.Failure, *, now: float
) -> Judged:
    """Work that nobody waits for changes nothing, nor does a second receipt of a try that was counted."""
    if not trying.is_awaited(row, versions, generation, seq=failure.seq, pipe=failure.pipe):
        return Judged(None)
    if not failure.permanent and (left := steps.counted_lately(row, now=now)):
        return Judged(left)
    failed = trying.fail(
        row,
        versions,
        generation,
        seq=failure.seq,
        pipe=failure.pipe,
        reason=failure.reason,
        detail=failure.detail,
        permanent=failure.permanent,
        now=now,
    )
    name = history.StepName.FAILED if failed.delay_seconds is None else history.StepName.WAITING
    step = history.TimelineStep(now, name, failure.seq, failure.pipe, reason=failure.reason, detail=failure.detail)
    return Judged(failed.delay_seconds, failed, step)
