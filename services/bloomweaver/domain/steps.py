"""The protocol's decisions, as pure functions: accept, intent, flip, removal, and which lane a document needs next.

Every ledger adapter calls these inside its transaction, so that SQLite and PostgreSQL cannot decide differently.
The rules R1 to R16 that the docstrings name are written out in docs/concepts/protocol.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bloomweaver.domain import identity, metadata
from bloomweaver.domain.documents import (
    DocumentKey,
    Generation,
    Meta,
    Ordering,
    Pipeline,
    Revision,
    Row,
    Version,
    VersionState,
)
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.events import Change, Expect, Lane, MetaPatch, Outcome, Step
from bloomweaver.domain.reasons import Reason

FIRST_REMOVAL_SECONDS = 60.0
SECOND_REMOVAL_SECONDS = 600.0
RETRY_DELAYS_SECONDS = (1.0, 5.0, 30.0, 120.0)
MAX_HINT_DELAY_SECONDS = 3600.0
BUILT = frozenset({VersionState.READY, VersionState.LIVE})


@dataclass(frozen=True, slots=True)
class Decision:
    """What accepting a change does to the row.

    row: the row afterwards; None where nothing is stored but the event. takes_seq: a revision is written under it.
    affirms: (seq, src) of the revision whose order key rises because newer news affirmed it (R3).
    kills_below: versions with seq below this die now; unflips: the live version dies (a late delete).
    """

    outcome: Outcome
    row: Row | None
    takes_seq: bool = False
    reason: Reason | None = None
    meta: Meta | None = None
    affirms: tuple[int, int] | None = None
    kills_below: int = 0
    unflips: bool = False


def accept(
    row: Row | None,
    change: Change,
    *,
    key: DocumentKey,
    ordering: Ordering,
    next_seq: int,
    now: float,
    revision: Revision | None = None,
    live_src: int = 0,
) -> Decision:
    """Decide one change against the row (R3).

    revision: the desired revision, needed for a patch. live_src: the order key of the live revision.
    Raises Refusal where the request itself cannot be done (precondition, unknown, source version missing or refused).
    """
    check_source_version(change, ordering)
    check_expectation(change.expect, row, patch=change.patch is not None)
    if change.patch is not None:
        return _accept_patch(row, change.patch, revision=revision, next_seq=next_seq, now=now)
    if change.deletes:
        return _accept_delete(row, change, key=key, ordering=ordering, next_seq=next_seq, now=now, live_src=live_src)
    return _accept_put(row, change, key=key, ordering=ordering, next_seq=next_seq, now=now)


def check_source_version(change: Change, ordering: Ordering) -> None:
    """`source_version` is required with source ordering (but for PATCH and the DELETE route), refused with arrival."""
    if ordering is Ordering.ARRIVAL and change.source_version is not None:
        detail = "This collection orders changes by arrival. Leave source_version out."
        raise Refusal(Reason.SOURCE_VERSION_REFUSED, detail, pointers=(("/source_version", detail),))
    optional = change.patch is not None or (change.deletes and change.expect is not None and change.expect.present)
    if ordering is Ordering.SOURCE and change.source_version is None and not optional:
        detail = "This collection orders changes by their source version. Send source_version."
        raise Refusal(Reason.SOURCE_VERSION_REQUIRED, detail, pointers=(("/source_version", detail),))


def check_expectation(expect: Expect | None, row: Row | None, *, patch: bool = False) -> None:
    """Preconditions: If-None-Match, If-Match, and routes that answer 404 for an unknown document."""
    if expect is None:
        return
    if expect.present and row is None:
        raise Refusal(Reason.DOCUMENT_NOT_FOUND, "There is no such document.")
    if patch and row is not None and row.tomb:
        raise Refusal(Reason.DOCUMENT_DELETED, "The document was deleted. PUT it again to bring it back.")
    if expect.absent and row is not None and not row.tomb:
        raise Refusal(Reason.PRECONDITION_FAILED, f"The document exists, at seq {row.seq}.")
    if expect.seq is not None and (row is None or row.seq != expect.seq):
        have = "it does not exist" if row is None else f"it is at seq {row.seq}"
        raise Refusal(Reason.PRECONDITION_FAILED, f"The document is not at seq {expect.seq}: {have}.")


def _accept_put(
    row: Row | None, change: Change, *, key: DocumentKey, ordering: Ordering, next_seq: int, now: float
) -> Decision:
    content, meta = change.content, change.meta or Meta()
    assert content is not None
    src = change.source_version if ordering is Ordering.SOURCE and change.source_version is not None else next_seq
    metas = change.meta_hash or identity.meta_hash(meta.title, meta.url, meta.metadata)
    if row is None:
        fresh = Row(key, next_seq, src, content_hash=content.hash, meta_hash=metas, accepted_at=now, hinted_at=now)
        return Decision(Outcome.CREATED, fresh, takes_seq=True, meta=meta)
    same_content = not row.tomb and content.hash == row.content_hash
    same = same_content and metas == row.meta_hash
    if ordering is Ordering.SOURCE and src <= row.src:
        if src == row.src and same:
            return Decision(Outcome.UNCHANGED, row)
        return Decision(Outcome.SUPERSEDED, row, reason=_older(src, row))
    if same:
        if ordering is Ordering.ARRIVAL:
            return Decision(Outcome.UNCHANGED, row)
        return Decision(Outcome.UNCHANGED, replace(row, src=src), affirms=(row.seq, src))
    renewed = _renewed(row, seq=next_seq, now=now)
    desired = replace(renewed, src=src, tomb=False, content_hash=content.hash, meta_hash=metas)
    outcome = Outcome.CREATED if row.tomb else Outcome.METADATA_ONLY if same_content else Outcome.UPDATED
    return Decision(outcome, desired, takes_seq=True, meta=meta)


def _accept_delete(
    row: Row | None,
    change: Change,
    *,
    key: DocumentKey,
    ordering: Ordering,
    next_seq: int,
    now: float,
    live_src: int,
) -> Decision:
    if ordering is Ordering.ARRIVAL:
        if row is None or row.tomb:
            return Decision(Outcome.UNCHANGED, row)
        return _bury(row, key=key, seq=next_seq, src=next_seq, fsrc=next_seq, now=now)
    if change.source_version is None:  # the DELETE route without a version: what is there goes
        if row is None or row.tomb:
            return Decision(Outcome.UNCHANGED, row)
        return _bury(row, key=key, seq=next_seq, src=row.src, fsrc=row.src, now=now)
    src = change.source_version
    if row is None or src > row.src:
        return _bury(row, key=key, seq=next_seq, src=src, fsrc=src, now=now)
    if src == row.src:
        if row.tomb:
            return Decision(Outcome.UNCHANGED, row)
        return Decision(Outcome.SUPERSEDED, row, reason=Reason.EQUAL_SOURCE_VERSION)
    floor = max(row.fsrc, src)
    unflips = row.live > 0 and live_src <= floor
    lowered = replace(row, fsrc=floor, live=0 if unflips else row.live)
    return Decision(Outcome.SUPERSEDED, lowered, reason=Reason.OLDER_THAN_CURRENT, unflips=unflips)


def _accept_patch(
    row: Row | None, patch: MetaPatch, *, revision: Revision | None, next_seq: int, now: float
) -> Decision:
    if row is None or revision is None or row.tomb:
        raise Refusal(Reason.DOCUMENT_NOT_FOUND, "There is no such document.")
    meta = patched(revision.meta, patch)
    metas = identity.meta_hash(meta.title, meta.url, meta.metadata)
    if metas == row.meta_hash:
        return Decision(Outcome.UNCHANGED, row)
    desired = replace(_renewed(row, seq=next_seq, now=now), meta_hash=metas)
    return Decision(Outcome.METADATA_ONLY, desired, takes_seq=True, meta=meta)


def patched(meta: Meta, patch: MetaPatch) -> Meta:
    """The meta after a merge: given fields replace, a null removes."""
    merged = metadata.merge(meta.metadata, patch.metadata or {})
    title = None if patch.clear_title else patch.title if patch.title is not None else meta.title
    url = None if patch.clear_url else patch.url if patch.url is not None else meta.url
    return Meta(title=title, url=url, metadata=merged)


def _older(src: int, row: Row) -> Reason:
    return Reason.EQUAL_SOURCE_VERSION if src == row.src else Reason.OLDER_THAN_CURRENT


def _renewed(row: Row, *, seq: int, now: float) -> Row:
    """The row with a new desired seq: everything that was said about the old one's troubles is forgotten."""
    return replace(
        row,
        seq=seq,
        attempts=0,
        next_try=None,
        reason=None,
        detail="",
        failed=False,
        first_failure_at=None,
        last_failure_at=None,
        accepted_at=now,
        hinted_at=now,
        hints=0,
    )


def _bury(row: Row | None, *, key: DocumentKey, seq: int, src: int, fsrc: int, now: float) -> Decision:
    """A tombstone: nothing below it is ever shown again, and what was built dies at once."""
    old = row or Row(key, seq, src)
    buried = replace(
        _renewed(old, seq=seq, now=now), src=src, fsrc=fsrc, tomb=True, live=0, content_hash="", meta_hash=""
    )
    return Decision(Outcome.DELETED, buried, takes_seq=True, kills_below=seq)


def targets(row: Row, versions: Iterable[Version], pipe: str, *, active: str) -> tuple[int, ...]:
    """The seqs that a current pipeline has to hold, the desired one first.

    The active pipeline needs the desired seq. Any other also needs what is live (backfill, R15) and the newest seq that
    the active pipeline has ready, else a document that changes faster than the slower pipeline builds would never flip.
    """
    if row.tomb:
        return ()
    if pipe == active:
        return () if row.failed else (row.seq,)
    if row.failed:
        return (row.live,) if row.live else ()
    ready = [v.seq for v in versions if v.pipe == active and v.state is VersionState.READY and v.seq > row.live]
    wanted = (row.seq, max(ready, default=0), row.live)
    return tuple(dict.fromkeys(seq for seq in wanted if seq))


def next_steps(row: Row, versions: Sequence[Version], generation: Generation) -> tuple[Step, ...]:
    """Which lanes the document needs next, for webhook, workers, reconciler and scaler alike.

    A missing version whose content some build already holds goes straight to UPDATE: no embedder is woken for a
    metadata edit. An intent is CREATE where nothing is live, else UPDATE. A tombstone is DELETE until all its versions
    are gone. A dead version of a wanted seq (its pipeline was given up and is current again) is waited for, then built
    anew.
    """
    if row.tomb:
        dying = [v for v in versions if v.state is not VersionState.GONE]
        return (Step(Lane.DELETE, row.seq, dying[0].pipe),) if dying else ()
    steps = []
    for pipeline in generation.pipelines:
        for seq in targets(row, versions, pipeline.pipe, active=generation.active.pipe):
            step = _step_for(row, versions, pipeline, seq)
            if step is not None:
                steps.append(step)
    return tuple(steps)


def _step_for(row: Row, versions: Sequence[Version], pipeline: Pipeline, seq: int) -> Step | None:
    version = find(versions, seq, pipeline.pipe)
    writing = Lane.UPDATE if row.live else Lane.CREATE
    if version is not None and version.state is not VersionState.GONE:
        return Step(writing, seq, pipeline.pipe) if version.state is VersionState.INTENT else None
    if reusable(versions, pipeline.pipe, content_of(row, versions, seq)) is not None:
        return Step(Lane.UPDATE, seq, pipeline.pipe)
    return Step(Lane.CHANGE, seq, pipeline.pipe, pipeline.space)


def content_of(row: Row, versions: Iterable[Version], seq: int) -> str:
    """The content hash under a seq: the row knows the desired one, versions know theirs."""
    if seq == row.seq:
        return row.content_hash
    return next((v.content_hash for v in versions if v.seq == seq and v.content_hash), "")


def find(versions: Iterable[Version], seq: int, pipe: str) -> Version | None:
    """The version of that seq in that pipeline."""
    return next((v for v in versions if v.seq == seq and v.pipe == pipe), None)


def reusable(versions: Iterable[Version], pipe: str, content_hash: str) -> Version | None:
    """A version of the same content in the same pipeline whose build still exists."""
    unusable = (VersionState.GONE, VersionState.FAILED)
    return next(
        (
            v
            for v in versions
            if v.pipe == pipe and v.content_hash == content_hash and v.state not in unusable and v.build
        ),
        None,
    )


def may_intend(row: Row | None, versions: Sequence[Version], generation: Generation, *, seq: int, pipe: str) -> bool:
    """Whether work on (seq, pipe) may begin: it is wanted, in a pipeline that the generation names (R4, R5).

    A version that is gone stands in nobody's way: its pipeline was given up once, and is being built again.
    """
    if row is None or generation.pipeline(pipe) is None:
        return False
    version = find(versions, seq, pipe)
    if version is not None and version.state is not VersionState.GONE:
        return False
    return seq in targets(row, versions, pipe, active=generation.active.pipe)


def may_flip(row: Row, versions: Sequence[Version], generation: Generation, *, seq: int, src: int, epoch: int) -> bool:
    """The fence (R8): newer than what is shown, above the floor, ready in every current pipeline, generation as read.

    A permanent failure in a pipeline that is not active does not hold the flip; the gate counts it.
    """
    if seq <= row.live or src <= row.fsrc or generation.epoch != epoch:
        return False
    return all(is_ready(versions, seq, p.pipe, active=generation.active.pipe) for p in generation.pipelines)


def is_ready(versions: Iterable[Version], seq: int, pipe: str, *, active: str) -> bool:
    """Whether that pipeline can show the seq, or has given it up without being the active one."""
    version = find(versions, seq, pipe)
    if version is None:
        return False
    return version.state in BUILT or (version.state is VersionState.FAILED and pipe != active)


def is_abandoned(row: Row | None, version: Version, *, src: int) -> bool:
    """An unfinished version is given up only if it can never be shown; never by age (R12)."""
    if row is None or row.tomb:
        return True
    return version.seq < row.live or src <= row.fsrc


def removal_due(version: Version, row: Row | None, *, now: float) -> bool:
    """Vectors go 60 s after their version's death, at once behind a delete, and once more after 10 min (R9, R13)."""
    if version.state is not VersionState.DEAD:
        return False
    if version.removals:
        return now >= version.since + SECOND_REMOVAL_SECONDS
    return row is None or row.tomb or now >= version.since + FIRST_REMOVAL_SECONDS


def retry_delay(attempts: int) -> float | None:
    """Seconds until the next try after that many failures; None when it has failed for good."""
    if attempts > len(RETRY_DELAYS_SECONDS):
        return None
    return RETRY_DELAYS_SECONDS[attempts - 1]


def counted_lately(row: Row, *, now: float) -> float:
    """Seconds until the try that the last counted failure set is due; 0 where none is awaited.

    A hint may be received twice at once, and both receipts fail: that is one try. A postponement is no try, so what it
    does to `next_try` changes nothing here.
    """
    if not row.attempts or row.last_failure_at is None:
        return 0.0
    return max(0.0, row.last_failure_at + (retry_delay(row.attempts) or 0.0) - now)


def removal_counted(versions: Sequence[Version], removed: Version, *, now: float) -> Version | None:
    """R9: vectors are removed twice, because what was written late may come after the first time; then it is gone.

    None where this is not what was removed any more: another worker counted it.
    """
    known = find(versions, removed.seq, removed.pipe)
    if known is None or known.state is not VersionState.DEAD or known.removals != removed.removals:
        return None
    counted = replace(known, removals=known.removals + 1)
    return counted if counted.removals < 2 else replace(counted, state=VersionState.GONE, since=now)


def hint_delay(hints: int) -> float:
    """Seconds that the reconciler waits before it hints again: 1, 2, 4 … 60 minutes (R12)."""
    return min(60.0 * 2.0 ** min(hints, 10), MAX_HINT_DELAY_SECONDS)
