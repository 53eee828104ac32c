"""Where a document waits and until when, decided once for the engines of every ledger.

Invariant: what has a next step, or waits for a flip, has a lane and a due time, so the reconciler looks at it (R12).
"""

from collections.abc import Sequence

from bloomweaver.domain import steps
from bloomweaver.domain.documents import Row, Version, VersionState
from bloomweaver.domain.events import Step
from bloomweaver.ports import queues

STALLED = ""
"""The lane of a document that no queue can help: it waits for a flip that a change of its generation held up."""


def place(row: Row, following: Sequence[Step], versions: Sequence[Version]) -> tuple[str | None, float | None]:
    """(lane, due_at): where it waits, and when it is due for a hint; (None, None) where nothing is to be done."""
    if row.tomb:
        # The second removal is days and minutes after; `removals` gives it. Here is only what was not removed at all.
        unremoved = any(v.state is not VersionState.GONE and not v.removals for v in versions)
        return (queues.queue_of(following[0]), due(row)) if following and unremoved else (None, None)
    if following:
        return queues.queue_of(following[0]), due(row)
    if row.live != row.seq and not row.failed:
        return STALLED, due(row) if row.hints else row.accepted_at
    return None, None


def due(row: Row) -> float:
    """When the reconciler hints: at the next try, else by the row's own delay since the last hint."""
    hinted_at = row.accepted_at if row.hinted_at is None else row.hinted_at
    if row.next_try is not None and row.next_try > hinted_at:
        return row.next_try
    return hinted_at + steps.hint_delay(row.hints)
