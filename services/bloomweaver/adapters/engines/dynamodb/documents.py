"""A document as one transaction sees it: loaded whole, decided in Python, saved whole.

Its row, versions, builds and due times are one item, with a number that every change raises; a change is written only
over the number that it read. What stands beside it (revisions, chunks, steps, markers) is collected in `writes` and
goes along in the same transaction.

Invariants: `save` writes with the row the lane that it waits in and when the reconciler looks at it, so no change of a
row can leave it waiting unseen (R12); and every change of `live` takes the next value of a flip counter (R11).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bloomweaver.adapters.engines import waiting
from bloomweaver.adapters.engines.dynamodb import items, keys
from bloomweaver.domain import steps
from bloomweaver.domain.documents import DocumentKey, Generation, Row, State, Version, VersionState
from bloomweaver.domain.events import Lane, Step
from bloomweaver.domain.identity import BuildId, CollectionUid, DocumentId, Pipe
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

ENDED = frozenset({VersionState.DEAD, VersionState.GONE})
GIVEN_AGAIN_SECONDS = 60.0
STEP_KEPT_SECONDS = 30 * 86_400.0

_ROW = tuple(f.name for f in fields(Row) if f.name != "key")


@dataclass(frozen=True, slots=True)
class Source:
    """What a decision needs of a revision without reading its text."""

    src: int
    accepted_at: float


@dataclass(frozen=True, slots=True)
class Build:
    """Chunks that stand beside the row. pending_since: written before the version that is to name them.

    dropping: they are being collected, and no version may name them again.
    """

    pipe: Pipe
    build: BuildId
    n_chunks: int
    pending_since: float | None = None
    dropping: bool = False


@dataclass(slots=True)
class Held:
    """A document under a transaction's number `n` (0: not in the table yet). What is decided changes it in place.

    remove_at: when the vectors of a dead version are due to go. revisions, steps: how many there are, and were told.
    """

    stored: items.StoredCollection
    gate: items.Gate
    n: int
    row: Row
    versions: list[Version] = field(default_factory=list)
    sources: dict[int, Source] = field(default_factory=dict)
    builds: list[Build] = field(default_factory=list)
    remove_at: dict[tuple[int, str], float] = field(default_factory=dict)
    revisions: int = 0
    steps: int = 0
    flip: int = 0
    gone_at: float | None = None
    litter_at: float | None = None
    lane: str | None = None
    due_at: float | None = None
    was: Row | None = None
    lame: bool = False
    dirty: bool = False
    dropped: bool = False
    writes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> DocumentKey:
        """Of the document."""
        return self.row.key

    @property
    def generation(self) -> Generation:
        """Of its collection."""
        return self.stored.generation

    @property
    def flipped(self) -> bool:
        """Whether this transaction changes what searches may show."""
        return self.row.live != (0 if self.was is None else self.was.live)

    def source(self, seq: int) -> int:
        """src(seq), the order key of a revision; 0 where it is forgotten, which is below every floor."""
        return self.sources[seq].src if seq in self.sources else 0


def load(stored: items.StoredCollection, gate: items.Gate, item: items.Item) -> Held:
    """From the row's item.

    A version that failed in what is now the active pipeline failed before that became active: it is tried again, and
    then fails where a person sees it.
    """
    key = row_key(item)
    values, versions, sources, builds, removes, counters, gone_at = items.loaded(item)
    row = _row_of(key, values)
    active = stored.generation.active.pipe
    known = [items.version_of(key, parts) for parts in versions]
    revisions, told, flip = counters
    return Held(
        stored,
        gate,
        items.integer(item, "n"),
        row,
        [v for v in known if not (v.state is VersionState.FAILED and v.pipe == active)],
        {seq: Source(src, accepted_at) for seq, src, accepted_at in sources},
        [Build(Pipe(pipe), BuildId(build), n, since, dropping) for pipe, build, n, since, dropping in builds],
        {(seq, pipe): at for seq, pipe, at in removes},
        revisions,
        told,
        flip,
        gone_at,
        items.decimal(item, "litter_at"),
        _lane_of(item),
        items.decimal(item, "due_at"),
        was=row,
    )


def begin(stored: items.StoredCollection, gate: items.Gate, row: Row) -> Held:
    """A document that is not in the table yet."""
    return Held(stored, gate, 0, row)


def row_key(item: items.Item) -> DocumentKey:
    """Of a row's item."""
    return DocumentKey(CollectionUid(keys.parse_row(item["pk"]["S"])), DocumentId(item["sk"]["S"]))


def row_of(item: items.Item) -> Row:
    """The row alone."""
    return _row_of(row_key(item), items.loaded(item)[0])


def row_and_flip(item: items.Item) -> tuple[Row, int]:
    """The row, and the value of the flip counter when its `live` last changed."""
    values, *_, counters, _ = items.loaded(item)
    return _row_of(row_key(item), values), int(counters[2])


def _row_of(key: DocumentKey, values: list[Any]) -> Row:
    named = dict(zip(_ROW, values, strict=True))
    named["reason"] = items.reason_of(named["reason"])
    return Row(key, **named)


def _lane_of(item: items.Item) -> str | None:
    return str(item["due_in"]["S"]).rpartition("#")[0] if "due_in" in item else None


def item_of(held: Held) -> dict[str, Any]:
    """For the table. Only order keys of what is wanted, shown or built are kept beside the row."""
    row, shard = held.row, keys.shard_of(held.key.document_id) % keys.DUE_SHARDS
    named = {row.seq, row.live} | {v.seq for v in held.versions}
    body = [
        [getattr(row, name) for name in _ROW],
        [items.version_parts(v) for v in held.versions],
        [[seq, s.src, s.accepted_at] for seq, s in held.sources.items() if seq in named],
        [[b.pipe, b.build, b.n_chunks, b.pending_since, b.dropping] for b in held.builds],
        [[seq, pipe, at] for (seq, pipe), at in held.remove_at.items()],
        [held.revisions, held.steps, held.flip],
        held.gone_at,
    ]
    item = {
        **items.named(keys.row(held.key)),
        "n": items.number(held.n + 1),
        "body": items.dumped(body),
        "state": items.text(row.state),
        "accepted_at": items.number(row.accepted_at),
        "hinted_at": items.number(row.accepted_at if row.hinted_at is None else row.hinted_at),
    }
    if row.next_try is not None:
        item["next_try"] = items.number(row.next_try)
    if held.lane is not None and held.due_at is not None:
        item |= {"due_in": items.text(due_in(held.lane, shard)), "due_at": items.number(held.due_at)}
    if held.remove_at:
        item |= {"remove_in": items.text(str(shard)), "remove_at": items.number(min(held.remove_at.values()))}
    if held.litter_at is not None:
        item |= {"litter_in": items.text(str(shard)), "litter_at": items.number(held.litter_at)}
    if is_pending(row):
        item["pending_in"] = items.text(pending_in(held.key.collection_uid, shard))
    return item


def due_in(lane: str, shard: int) -> str:
    """The partition of the index `due`: several where documents wait for long, one where they pass."""
    return f"{lane}#{shard % due_shards(lane)}"


def due_shards(lane: str) -> int:
    """How many partitions a lane has."""
    return keys.DUE_SHARDS if lane.startswith(Lane.CHANGE) else 1


def pending_in(uid: str, shard: int) -> str:
    """The partition of the index `pending`."""
    return f"{uid}#{shard}"


def is_pending(row: Row) -> bool:
    """Whether its change is not searchable yet, and still may be."""
    return row.live != row.seq and not row.tomb and not row.failed


def save(held: Held) -> tuple[Step, ...]:
    """The document is written as it is now; where it goes next."""
    following = steps.next_steps(held.row, held.versions, held.generation)
    held.lane, held.due_at = waiting.place(held.row, following, held.versions)
    if held.flipped:
        held.flip = held.gate.flips + 1
        held.lame = held.row.live > 0 and not _is_whole(held)
    held.dirty = True
    return following


def _is_whole(held: Held) -> bool:
    """Whether every current pipeline has what is shown: a promotion that was counted before may not miss it."""
    return all(
        any(v.seq == held.row.live and v.pipe == p.pipe and v.state in steps.BUILT for v in held.versions)
        for p in held.generation.pipelines
    )


def kill(held: Held, doomed: Iterable[Version], *, now: float) -> None:
    """These versions die: never to be shown again. One that has no vectors is gone at once."""
    ending = {(v.seq, v.pipe): v for v in doomed if v.state not in ENDED}
    if not ending:
        return
    # A delete's own hint removes first; `removals` comes after it. A flip leaves searches under way their time.
    remove_at = now + (GIVEN_AGAIN_SECONDS if held.row.tomb else steps.FIRST_REMOVAL_SECONDS)
    for name, version in ending.items():
        state = VersionState.DEAD if version.n_chunks else VersionState.GONE
        ending[name] = replace(version, state=state, since=now)
        if version.n_chunks:
            held.remove_at[name] = remove_at
    held.versions = [ending.get((v.seq, v.pipe), v) for v in held.versions]
    held.dirty = True
    if any(v.state is VersionState.GONE for v in ending.values()):
        went(held, now=now)


def went(held: Held, *, now: float) -> None:
    """A version of it is gone: what it alone named may be garbage."""
    held.gone_at = now
    littered(held, at=now)


def littered(held: Held, *, at: float | None) -> None:
    """When to look whether something of the document is garbage."""
    held.litter_at = at
    held.dirty = True


def put_version(held: Held, version: Version) -> None:
    """A version, in the place of what has its name."""
    held.versions = [v for v in held.versions if (v.seq, v.pipe) != (version.seq, version.pipe)] + [version]
    held.remove_at.pop((version.seq, version.pipe), None)
    held.dirty = True


def change_version(held: Held, old: Version, new: Version) -> None:
    """One version's state, date or size."""
    held.versions = [new if v is old else v for v in held.versions]
    held.dirty = True


def flip(held: Held, seq: int, *, now: float) -> None:
    """R8, decided by the caller: the seq is shown, everything below it dies."""
    row, generation = held.row, held.generation
    shown = steps.find(held.versions, seq, generation.active.pipe)
    if row.seq == seq:
        reason = Reason.NO_TEXT if shown is not None and not shown.n_chunks else None
        row = replace(row, attempts=0, next_try=None, reason=reason, detail="", failed=False)
        row = replace(row, first_failure_at=None, last_failure_at=None)
    held.row = replace(row, live=seq, shown_at=now)
    for version in held.versions:
        if version.seq == seq and version.state is VersionState.READY and generation.pipeline(version.pipe):
            change_version(held, version, replace(version, state=VersionState.LIVE, since=now))
    kill(held, [v for v in held.versions if v.seq < seq], now=now)
    note(held, history.TimelineStep(now, history.StepName.SHOWN, seq, generation.active.pipe))
    if held.revisions > 1:
        littered(held, at=now)


def flip_what_waits(held: Held, *, now: float) -> bool:
    """Show the newest seq that nothing holds up any more, e.g. after a pipeline was given up."""
    candidates = sorted({v.seq for v in held.versions if v.state is VersionState.READY}, reverse=True)
    for seq in candidates:
        src, epoch = held.source(seq), held.generation.epoch
        if steps.may_flip(held.row, held.versions, held.generation, seq=seq, src=src, epoch=epoch):
            flip(held, seq, now=now)
            return True
    return False


def note(held: Held, step: history.TimelineStep) -> None:
    """A line of the timeline."""
    item = items.step_item(held.key, held.steps, step, expires_at=step.at + STEP_KEPT_SECONDS)
    # Of more steps in one transaction than the ring has places, the last ones stay.
    held.writes = [w for w in held.writes if w.get("Put", {}).get("Item", {}).get("sk") != item["sk"]]
    held.writes.append({"Put": {"Item": item}})
    held.steps += 1
    held.dirty = True


def state_of(row: Row | None) -> State | None:
    """None where there is no row."""
    return None if row is None else row.state


def row_and_versions(item: items.Item) -> tuple[Row, list[Version]]:
    """Both, read once: a count goes through every row."""
    key = row_key(item)
    values, versions, *_ = items.loaded(item)
    return _row_of(key, values), [items.version_of(key, parts) for parts in versions]


def builds_of(item: items.Item) -> list[Build]:
    """The builds alone."""
    return [Build(Pipe(pipe), BuildId(build), *rest) for pipe, build, *rest in items.loaded(item)[3]]


def key_of(name: keys.Key) -> DocumentKey:
    """Whose row stands there."""
    return DocumentKey(CollectionUid(keys.parse_row(name[0])), DocumentId(name[1]))
