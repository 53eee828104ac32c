"""What a failed try makes of a document, and what trying it anew does: decided once, for every ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bloomweaver.domain import steps
from bloomweaver.domain.documents import Generation, Row, Version, VersionState
from bloomweaver.domain.identity import BuildId, Pipe
from bloomweaver.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Failed:
    """row: afterwards. delay_seconds: until the next try, None where it is given up.

    given_up: the version that says so, where the pipeline is not the active one: the document itself goes on (R8).
    """

    row: Row
    delay_seconds: float | None
    given_up: Version | None = None


def is_awaited(row: Row, versions: Sequence[Version], generation: Generation, *, seq: int, pipe: Pipe) -> bool:
    """Whether the row still waits for exactly this work."""
    if generation.pipeline(pipe) is None:
        return False
    version = steps.find(versions, seq, pipe)
    unfinished = version is None or version.state in (VersionState.INTENT, VersionState.GONE)
    return unfinished and seq in steps.targets(row, versions, pipe, active=generation.active.pipe)


def fail(
    row: Row,
    versions: Sequence[Version],
    generation: Generation,
    *,
    seq: int,
    pipe: Pipe,
    reason: Reason,
    detail: str,
    permanent: bool,
    now: float,
) -> Failed:
    """Counts a try of work that is awaited; after the last one, or at once where it is permanent, it has failed."""
    attempts = row.attempts + 1
    first = now if row.first_failure_at is None else row.first_failure_at
    delay = None if permanent else steps.retry_delay(attempts)
    noted = replace(row, attempts=attempts, first_failure_at=first, last_failure_at=now)
    if delay is not None:
        return Failed(replace(noted, next_try=now + delay, reason=reason, detail=detail), delay)
    if pipe == generation.active.pipe:
        return Failed(replace(noted, failed=True, next_try=None, reason=reason, detail=detail), None)
    version = steps.find(versions, seq, pipe)
    if version is None or version.state is VersionState.GONE:
        given_up = Version(row.key, seq, pipe, BuildId(""), 0, VersionState.FAILED, now, "")
    else:
        given_up = replace(version, state=VersionState.FAILED, since=now)
    goes_on = replace(row, attempts=0, next_try=None, first_failure_at=None, last_failure_at=None)
    return Failed(goes_on, None, given_up)


def begun_in_vain(row: Row, versions: Sequence[Version], generation: Generation) -> list[Version] | None:
    """What trying anew drops: all that failed or was not finished. None where there is nothing to try anew."""
    if row.tomb:
        return None
    again = [v for v in versions if v.state is VersionState.FAILED and generation.pipeline(v.pipe)]
    if row.failed:
        again += [v for v in versions if v.seq == row.seq and v.state is VersionState.INTENT]
    return again if again or row.failed else None


def tried_anew(row: Row, *, now: float) -> Row:
    """A failed document begins from the beginning; what is finished is kept."""
    fresh = replace(row, attempts=0, next_try=None, reason=None, detail="", failed=False, hinted_at=now, hints=0)
    started = 0 if row.live != row.seq else row.started
    return replace(fresh, first_failure_at=None, last_failure_at=None, started=started)
