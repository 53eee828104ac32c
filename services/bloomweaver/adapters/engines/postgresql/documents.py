"""Documents inside a transaction: loaded together, decided in Python, written together.

A batch holds the documents under their rows' locks; decisions change what is held and note what has to be written;
`writing.write` sends it, one statement per table, with the commit. So a hundred changes cost the server's round trips
of one, and a document that occurs twice in a batch is decided twice in memory.

Invariants: what is written of a row says with it the lane that it waits in and when the reconciler looks at it, so no
change can leave it waiting unseen (R12); and a changed `live` is stamped with the transaction's id (R11).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bloomweaver.adapters.engines import rows, waiting
from bloomweaver.domain import steps
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Generation, Revision, Row, Version, VersionState
from bloomweaver.domain.events import Change, Step, StoredEvent
from bloomweaver.domain.identity import BuildId, DocumentId, Pipe
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

ENDED = frozenset({VersionState.DEAD, VersionState.GONE})
GIVEN_AGAIN_SECONDS = 60.0
STEPS_KEPT = 50


@dataclass(slots=True)
class Held:
    """A document under the transaction's lock. `row` and `versions` change as decisions are taken.

    following: where it goes next, if that is known of the row and the versions as they are.
    sources: (src, accepted_at) of the revisions that versions and `live` name, as far as they were loaded.
    remove_at: of the versions that were changed here. dirty: the row has to be written.
    """

    did: int
    stored: rows.StoredCollection
    row: Row
    versions: list[Version]
    litter_at: float | None = None
    gone_at: float | None = None
    is_new: bool = False
    dirty: bool = False
    flipped: bool = False
    litters_below: bool = False
    trims: bool = False
    following: tuple[Step, ...] | None = None
    sources: dict[int, tuple[int, float]] = field(default_factory=dict)
    revisions: dict[int, Revision] = field(default_factory=dict)
    changed: dict[tuple[int, Pipe], float | None] = field(default_factory=dict)
    dropped: set[tuple[int, Pipe]] = field(default_factory=set)

    @property
    def generation(self) -> Generation:
        """Of its collection."""
        return self.stored.generation

    def source(self, seq: int) -> int:
        """src(seq), the order key of a revision; 0 where it is forgotten, which is below every floor."""
        return self.sources.get(seq, (0, 0.0))[0]


@dataclass(slots=True)
class Batch:
    """What one transaction holds, and what it is about to write."""

    now: float
    held: dict[DocumentKey, Held] = field(default_factory=dict)
    events: dict[tuple[int, str, str], StoredEvent] = field(default_factory=dict)
    new_events: list[tuple[int, Change, StoredEvent]] = field(default_factory=list)
    new_revisions: list[tuple[int, Revision]] = field(default_factory=list)
    new_steps: list[tuple[int, history.TimelineStep]] = field(default_factory=list)
    affirmed: list[tuple[int, int]] = field(default_factory=list)
    tokens: dict[int, int] = field(default_factory=dict)
    builds: dict[tuple[int, Pipe, BuildId], tuple[ChunkRow, ...]] = field(default_factory=dict)
    positions: dict[tuple[int, Pipe], int] = field(default_factory=dict)

    def note(self, held: Held, step: history.TimelineStep) -> None:
        """A line of the timeline."""
        self.new_steps.append((held.did, step))


def add(batch: Batch, stored: rows.StoredCollection, row: Row, *, did: int) -> tuple[Held, tuple[Step, ...]]:
    """A new document, and where it goes next."""
    held = Held(did, stored, row, [], is_new=True)
    batch.held[row.key] = held
    return held, save(held, was_live=row.live)


def save(held: Held, *, was_live: int) -> tuple[Step, ...]:
    """The row is written as it is now; where it goes next."""
    held.dirty = True
    held.flipped = held.flipped or held.row.live != was_live
    held.following = steps.next_steps(held.row, held.versions, held.generation)
    return held.following


def place(held: Held) -> tuple[str | None, float | None]:
    """(lane, due_at): where it waits, and when it is due for a hint."""
    row = held.row
    following = held.following
    if following is None:
        following = steps.next_steps(row, held.versions, held.generation)
    return waiting.place(row, following, held.versions)


def put_version(held: Held, version: Version, *, remove_at: float | None = None) -> None:
    """A new version, or one as it is now. remove_at: when its vectors go, if it is dead."""
    assert (version.state is VersionState.DEAD) == (remove_at is not None)
    name = (version.seq, version.pipe)
    held.following = None
    held.dropped.discard(name)
    held.changed[name] = remove_at
    known = [(v.seq, v.pipe) for v in held.versions]
    if name in known:
        held.versions[known.index(name)] = version
    else:
        held.versions.append(version)


def drop_versions(held: Held, doomed: Iterable[Version]) -> None:
    """They were never there."""
    names = {(v.seq, v.pipe) for v in doomed}
    held.following = None
    held.dropped |= names
    for name in names:
        held.changed.pop(name, None)
    held.versions = [v for v in held.versions if (v.seq, v.pipe) not in names]


def kill(held: Held, doomed: Iterable[Version], *, now: float) -> None:
    """These versions die: never to be shown again. One that has no vectors is gone at once."""
    # A delete's own hint removes first; `removals` comes after it. A flip leaves searches under way their time.
    remove_at = now + (GIVEN_AGAIN_SECONDS if held.row.tomb else steps.FIRST_REMOVAL_SECONDS)
    for version in {(v.seq, v.pipe): v for v in doomed if v.state not in ENDED}.values():
        if version.n_chunks:
            put_version(held, replace(version, state=VersionState.DEAD, since=now), remove_at=remove_at)
        else:
            put_version(held, replace(version, state=VersionState.GONE, since=now))
            went(held, now=now)


def went(held: Held, *, now: float) -> None:
    """A version of it is gone: what it alone named may be garbage."""
    held.gone_at = held.litter_at = now
    held.dirty = True


def flip(batch: Batch, held: Held, seq: int) -> None:
    """R8, decided by the caller: the seq is shown, everything below it dies."""
    now, row, generation = batch.now, held.row, held.generation
    shown = steps.find(held.versions, seq, generation.active.pipe)
    if row.seq == seq:
        reason = Reason.NO_TEXT if shown is not None and not shown.n_chunks else None
        row = replace(row, attempts=0, next_try=None, reason=reason, detail="", failed=False)
        row = replace(row, first_failure_at=None, last_failure_at=None)
    held.row = replace(row, live=seq, shown_at=now)
    for version in list(held.versions):
        if version.seq == seq and version.state is VersionState.READY and generation.pipeline(version.pipe):
            put_version(held, replace(version, state=VersionState.LIVE, since=now))
    kill(held, [v for v in held.versions if v.seq < seq], now=now)
    batch.note(held, history.TimelineStep(now, history.StepName.SHOWN, seq, generation.active.pipe))
    held.litters_below = True


def flip_what_waits(batch: Batch, held: Held) -> bool:
    """Show the newest seq that nothing holds up any more, e.g. after a pipeline was given up."""
    candidates = sorted({v.seq for v in held.versions if v.state is VersionState.READY}, reverse=True)
    for seq in candidates:
        src, epoch = held.source(seq), held.generation.epoch
        if steps.may_flip(held.row, held.versions, held.generation, seq=seq, src=src, epoch=epoch):
            flip(batch, held, seq)
            return True
    return False


def key_of(stored: rows.StoredCollection, document_id: str) -> DocumentKey:
    """The key of a document of that collection."""
    return DocumentKey(stored.collection.uid, DocumentId(document_id))
