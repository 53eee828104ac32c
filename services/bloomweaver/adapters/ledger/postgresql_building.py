"""What workers tell the ledger: intents, settlements, failures, removals (R5, R7 to R9), each under the row's lock."""

from collections.abc import Sequence
from dataclasses import replace

from bloomweaver.adapters.engines import failing
from bloomweaver.adapters.engines.postgresql import documents, engine, loading, writing
from bloomweaver.domain import steps
from bloomweaver.domain.documents import DocumentKey, Row, Version, VersionState
from bloomweaver.domain.events import Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history, ledger

_STANDING = (VersionState.INTENT, VersionState.READY, VersionState.LIVE)


async def intend(tx: engine.Transaction, intents: Sequence[ledger.Intent]) -> list[ledger.Intended]:
    """R5: first one wins, and only what is wanted."""
    batch = await loading.hold(tx, [intent.key for intent in intents])
    answers = [_intend(batch, intent) for intent in intents]
    await writing.write(tx, batch)
    return answers


def _intend(batch: documents.Batch, intent: ledger.Intent) -> ledger.Intended:
    held = batch.held.get(intent.key)
    if held is None:
        return ledger.Intended(won=False, version=None)
    existing = steps.find(held.versions, intent.seq, intent.pipe)
    if existing is not None and existing.state in _STANDING:
        return ledger.Intended(won=existing.build == intent.build, version=existing)
    if not steps.may_intend(held.row, held.versions, held.generation, seq=intent.seq, pipe=intent.pipe):
        return ledger.Intended(won=False, version=None)
    if intent.chunks is None and not _build_stands(held, intent):
        return ledger.Intended(won=False, version=None)
    version = Version(
        intent.key,
        intent.seq,
        intent.pipe,
        intent.build,
        intent.n_chunks,
        VersionState.INTENT,
        batch.now,
        intent.content_hash,
        tokens_embedded=intent.tokens_embedded,
        tokens_reused=intent.tokens_reused,
    )
    documents.put_version(held, version)
    if intent.chunks is not None:
        batch.builds[held.did, intent.pipe, intent.build] = intent.chunks
    _begin(batch, held, intent)
    return ledger.Intended(won=True, version=version)


def _build_stands(held: documents.Held, intent: ledger.Intent) -> bool:
    """A build may be used again while some version that names it is not gone; after that it is being collected."""
    return any(
        v.pipe == intent.pipe and v.build == intent.build and v.state is not VersionState.GONE for v in held.versions
    )


def _begin(batch: documents.Batch, held: documents.Held, intent: ledger.Intent) -> None:
    """The row learns that work goes on: the worker hints the writer now, so the reconciler's delay starts anew."""
    row = replace(held.row, hinted_at=batch.now, hints=0, next_try=None)
    if intent.seq == row.seq:
        row = replace(row, started=intent.seq, reason=intent.reason, detail="")
    tokens = intent.tokens_embedded + intent.tokens_reused
    if tokens:
        batch.tokens[intent.seq] = tokens
    detail = f"{intent.n_chunks} chunks, {intent.tokens_embedded} tokens embedded, {intent.tokens_reused} reused"
    step = history.TimelineStep(
        batch.now, history.StepName.EMBEDDED, intent.seq, intent.pipe, reason=intent.reason, detail=detail
    )
    batch.note(held, step)
    held.row = row
    documents.save(held, was_live=row.live)


async def settle(tx: engine.Transaction, settlements: Sequence[ledger.Settlement]) -> list[ledger.Settled]:
    """R7, R8: the versions are ready; a row flips if the fence lets it."""
    batch = await loading.hold(tx, [settlement.key for settlement in settlements])
    answers = [_settle(batch, settlement) for settlement in settlements]
    await writing.write(tx, batch)
    return answers


def _settle(batch: documents.Batch, settlement: ledger.Settlement) -> ledger.Settled:
    held = batch.held.get(settlement.key)
    if held is None:
        return ledger.Settled(flipped=False, row=None)
    row, seq = held.row, settlement.seq
    version = steps.find(held.versions, seq, settlement.pipe)
    if version is None or version.state not in (VersionState.INTENT, VersionState.READY):
        return ledger.Settled(flipped=False, row=row, steps=_following(held))
    if version.state is VersionState.INTENT:
        _confirm(batch, held, version, settlement)
    waited = None
    source = held.sources.get(seq)
    if source is not None and steps.may_flip(
        row, held.versions, held.generation, seq=seq, src=source[0], epoch=settlement.epoch
    ):
        documents.flip(batch, held, seq)
        waited = batch.now - source[1]
    following = _saved(held, was=row)
    return ledger.Settled(flipped=waited is not None, row=held.row, steps=following, waited_seconds=waited)


def _following(held: documents.Held) -> tuple[Step, ...]:
    return steps.next_steps(held.row, held.versions, held.generation)


def _saved(held: documents.Held, *, was: Row) -> tuple[Step, ...]:
    """Where all that was wanted is done, nothing is left to wait for."""
    row = held.row
    if row.live == row.seq and row.next_try is not None and not _following(held):
        held.row = replace(row, next_try=None, reason=None, detail="", attempts=0)
    return documents.save(held, was_live=was.live)


def _confirm(batch: documents.Batch, held: documents.Held, version: Version, settlement: ledger.Settlement) -> None:
    state = VersionState.LIVE if held.row.live == version.seq else VersionState.READY
    documents.put_version(held, replace(version, state=state, since=batch.now))
    if settlement.position is not None:
        place = (held.stored.cid, version.pipe)
        batch.positions[place] = max(settlement.position, batch.positions.get(place, 0))
    batch.note(held, history.TimelineStep(batch.now, history.StepName.CONFIRMED, version.seq, version.pipe))


async def postpone(
    tx: engine.Transaction, keys: Sequence[DocumentKey], *, seq: int, reason: Reason, delay_seconds: float
) -> None:
    """Sets the next try and why; counts nothing."""
    batch = await loading.hold(tx, keys)
    for held in batch.held.values():
        if held.row.tomb or seq not in (held.row.seq, held.row.live) or not _following(held):
            continue
        row = held.row
        held.row = replace(row, next_try=batch.now + delay_seconds, reason=reason, detail="")
        if row.reason is not reason:
            batch.note(held, history.TimelineStep(batch.now, history.StepName.WAITING, seq, reason=reason))
        documents.save(held, was_live=row.live)
    await writing.write(tx, batch)


async def fail(tx: engine.Transaction, failure: ledger.Failure) -> float | None:
    """Counts; after the last try, or at once where it is permanent, it has failed."""
    batch = await loading.hold(tx, [failure.key])
    held = batch.held.get(failure.key)
    if held is None:
        return None
    row = held.row
    found = failing.judged(row, held.versions, held.generation, failure, now=batch.now)
    if found.failed is not None and found.step is not None:
        held.row = found.failed.row
        if found.failed.given_up is not None:
            documents.put_version(held, found.failed.given_up)
        batch.note(held, found.step)
        if found.delay_seconds is None:
            documents.flip_what_waits(batch, held)
        documents.save(held, was_live=row.live)
    await writing.write(tx, batch)
    return found.delay_seconds


async def removed(tx: engine.Transaction, versions: Sequence[Version]) -> None:
    """See `_removed`, for each."""
    batch = await loading.hold(tx, [version.key for version in versions])
    for version in versions:
        _removed(batch, version)
    await writing.write(tx, batch)


def _removed(batch: documents.Batch, version: Version) -> None:
    held = batch.held.get(version.key)
    counted = None if held is None else steps.removal_counted(held.versions, version, now=batch.now)
    if held is None or counted is None:
        return
    if counted.state is VersionState.GONE:
        documents.put_version(held, counted)
        documents.went(held, now=batch.now)
        batch.note(held, history.TimelineStep(batch.now, history.StepName.REMOVED, counted.seq, counted.pipe))
    else:
        documents.put_version(held, counted, remove_at=counted.since + steps.SECOND_REMOVAL_SECONDS)
    documents.save(held, was_live=held.row.live)
