"""What workers tell the ledger: intents, settlements, failures, removals (R5, R7 to R9), each a document's transaction.

The chunks of a small build go along in the transaction of its intent. A build that is too large for one is announced on
the row first, then written beside it, then named by the version; what was announced and never named is garbage after
an hour, so that chunks which nobody names are always known to somebody.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bloomweaver.adapters.engines import failing
from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, transactions
from bloomweaver.domain import steps
from bloomweaver.domain.documents import DocumentKey, Version, VersionState
from bloomweaver.domain.events import Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history, ledger

CHUNKS_IN_TRANSACTION = 60
BYTES_IN_TRANSACTION = 2_000_000
"""A transaction has 100 items and 4 MB, and the row needs its share."""

ANNOUNCED_SECONDS = 3600.0
"""How long a build may stand announced; whoever announced it has finished or died long before."""

_STANDING = (VersionState.INTENT, VersionState.READY, VersionState.LIVE)
_UNWANTED = ledger.Intended(won=False, version=None)


async def intend(opened: engine.Engine, intent: ledger.Intent, *, now: float) -> ledger.Intended:
    """R5: first one wins, and only what is wanted."""
    chunks = [items.chunk_item(intent.key, intent.pipe, intent.build, chunk) for chunk in intent.chunks or ()]
    size = sum(_size(chunk) for chunk in chunks)
    small = len(chunks) <= CHUNKS_IN_TRANSACTION and size <= BYTES_IN_TRANSACTION
    if not small:

        def announce(held: documents.Held) -> ledger.Intended | None:
            return _announce(held, intent, now=now)

        nothing: ledger.Intended | None = _UNWANTED
        refused = await transactions.change(opened, intent.key, announce, absent=nothing)
        if refused is not None:
            return refused
        await opened.put_many(chunks)

    def decide(held: documents.Held) -> ledger.Intended:
        return _intend(held, intent, chunks if small else None, now=now)

    return await transactions.change(opened, intent.key, decide, absent=_UNWANTED)


def _size(item: dict[str, Any]) -> int:
    content = item["content"]
    return len(item["body"]["S"]) * 2 + len(content.get("B", b"")) + len(content.get("S", "").encode()) + 200


def _announce(held: documents.Held, intent: ledger.Intent, *, now: float) -> ledger.Intended | None:
    """None: its chunks may be written."""
    refused = _refused(held, intent)
    if refused is None:
        known = _build(held, intent)
        since = now if known is None or known.pending_since is not None else None
        _keep_build(held, intent, pending_since=since)
        given_up_at = now + ANNOUNCED_SECONDS
        documents.littered(held, at=given_up_at if held.litter_at is None else min(held.litter_at, given_up_at))
    return refused


def _refused(held: documents.Held, intent: ledger.Intent) -> ledger.Intended | None:
    """What speaks against it."""
    existing = steps.find(held.versions, intent.seq, intent.pipe)
    if existing is not None and existing.state in _STANDING:
        return ledger.Intended(won=existing.build == intent.build, version=existing)
    if not steps.may_intend(held.row, held.versions, held.generation, seq=intent.seq, pipe=intent.pipe):
        return _UNWANTED
    known = _build(held, intent)
    if known is not None and known.dropping:
        return _UNWANTED
    if intent.chunks is None and not _build_stands(held, intent):
        return _UNWANTED
    return None


def _intend(
    held: documents.Held, intent: ledger.Intent, chunks: list[dict[str, Any]] | None, *, now: float
) -> ledger.Intended:
    """chunks: to be written along; None where they were announced, and have to be announced still."""
    refused = _refused(held, intent)
    if refused is not None:
        return refused
    if intent.chunks is not None:
        if chunks is None and _build(held, intent) is None:
            return _UNWANTED
        held.writes += [{"Put": {"Item": chunk}} for chunk in chunks or ()]
        _keep_build(held, intent, pending_since=None)
        owner = items.named(keys.owner_of_build(intent.key.collection_uid, intent.build))
        held.writes.append({"Put": {"Item": {**owner, "document": items.text(intent.key.document_id)}}})
    version = Version(
        intent.key,
        intent.seq,
        intent.pipe,
        intent.build,
        intent.n_chunks,
        VersionState.INTENT,
        now,
        intent.content_hash,
        tokens_embedded=intent.tokens_embedded,
        tokens_reused=intent.tokens_reused,
    )
    documents.put_version(held, version)
    _begin(held, intent, now=now)
    return ledger.Intended(won=True, version=version)


def _build(held: documents.Held, intent: ledger.Intent) -> documents.Build | None:
    return next((b for b in held.builds if b.pipe == intent.pipe and b.build == intent.build), None)


def _keep_build(held: documents.Held, intent: ledger.Intent, *, pending_since: float | None) -> None:
    kept = documents.Build(intent.pipe, intent.build, intent.n_chunks, pending_since)
    held.builds = [b for b in held.builds if (b.pipe, b.build) != (intent.pipe, intent.build)] + [kept]


def _build_stands(held: documents.Held, intent: ledger.Intent) -> bool:
    """A build may be used again while some version that names it is not gone; after that it is being collected."""
    return any(
        v.pipe == intent.pipe and v.build == intent.build and v.state is not VersionState.GONE for v in held.versions
    )


def _begin(held: documents.Held, intent: ledger.Intent, *, now: float) -> None:
    """The row learns that work goes on: the worker hints the writer now, so the reconciler's delay starts anew."""
    row = replace(held.row, hinted_at=now, hints=0, next_try=None)
    if intent.seq == row.seq:
        row = replace(row, started=intent.seq, reason=intent.reason, detail="")
    tokens = intent.tokens_embedded + intent.tokens_reused
    if tokens:
        change = {
            "Key": items.named(keys.revision(held.key, intent.seq)),
            "UpdateExpression": "SET tokens = :tokens",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": {":tokens": items.number(tokens)},
        }
        held.writes.append({"Update": change})
    detail = f"{intent.n_chunks} chunks, {intent.tokens_embedded} tokens embedded, {intent.tokens_reused} reused"
    step = history.TimelineStep(
        now, history.StepName.EMBEDDED, intent.seq, intent.pipe, reason=intent.reason, detail=detail
    )
    documents.note(held, step)
    held.row = row
    documents.save(held)


async def settle(opened: engine.Engine, settlement: ledger.Settlement, *, now: float) -> ledger.Settled:
    """R7, R8: the version is ready; the row flips if the fence lets it. The position is there before what it is of."""
    if settlement.position is not None:
        await _confirm_position(opened, settlement, settlement.position)
    absent = ledger.Settled(flipped=False, row=None)
    return await transactions.change(
        opened, settlement.key, lambda held: _settle(held, settlement, now=now), absent=absent
    )


async def _confirm_position(opened: engine.Engine, settlement: ledger.Settlement, position: int) -> None:
    """A number that only rises, so it needs no transaction. A namespace that nobody knows is not made by it."""
    name = keys.namespace(settlement.key.collection_uid, settlement.pipe)
    condition = "attribute_exists(pk) AND (attribute_not_exists(#position) OR #position < :position)"
    try:
        values = {":position": items.number(position)}
        names = {"#position": "position"}
        await opened.update(name, "SET #position = :position", values, names=names, condition=condition)
    except engine.Conflict:
        return  # it is there, or higher


def _settle(held: documents.Held, settlement: ledger.Settlement, *, now: float) -> ledger.Settled:
    row, seq = held.row, settlement.seq
    version = steps.find(held.versions, seq, settlement.pipe)
    if version is None or version.state not in (VersionState.INTENT, VersionState.READY):
        return ledger.Settled(flipped=False, row=row, steps=_following(held))
    if version.state is VersionState.INTENT:
        state = VersionState.LIVE if row.live == version.seq else VersionState.READY
        documents.change_version(held, version, replace(version, state=state, since=now))
        documents.note(held, history.TimelineStep(now, history.StepName.CONFIRMED, seq, version.pipe))
    waited, source = None, held.sources.get(seq)
    if source is not None and steps.may_flip(
        row, held.versions, held.generation, seq=seq, src=source.src, epoch=settlement.epoch
    ):
        documents.flip(held, seq, now=now)
        waited = now - source.accepted_at
    following = _following(held)
    if held.row.live == held.row.seq and held.row.next_try is not None and not following:
        # Where all that was wanted is done, nothing is left to wait for.
        held.row = replace(held.row, next_try=None, reason=None, detail="", attempts=0)
    documents.save(held)
    return ledger.Settled(flipped=waited is not None, row=held.row, steps=following, waited_seconds=waited)


def _following(held: documents.Held) -> tuple[Step, ...]:
    return steps.next_steps(held.row, held.versions, held.generation)


def postpone(held: documents.Held, *, seq: int, reason: Reason, delay_seconds: float, now: float) -> None:
    """Sets the next try and why; counts nothing."""
    row = held.row
    if row.tomb or seq not in (row.seq, row.live) or not _following(held):
        return
    held.row = replace(row, next_try=now + delay_seconds, reason=reason, detail="")
    if row.reason is not reason:
        documents.note(held, history.TimelineStep(now, history.StepName.WAITING, seq, reason=reason))
    documents.save(held)


def fail(held: documents.Held, failure: ledger.Failure, *, now: float) -> float | None:
    """Counts; after the last try, or at once where it is permanent, it has failed."""
    found = failing.judged(held.row, held.versions, held.generation, failure, now=now)
    if found.failed is not None and found.step is not None:
        held.row = found.failed.row
        if found.failed.given_up is not None:
            documents.put_version(held, found.failed.given_up)
        documents.note(held, found.step)
        if found.delay_seconds is None:
            documents.flip_what_waits(held, now=now)
        documents.save(held)
    return found.delay_seconds


def removed(held: documents.Held, versions: Sequence[Version], *, now: float) -> None:
    """Counted for each; R9 says why."""
    for version in versions:
        counted = steps.removal_counted(held.versions, version, now=now)
        known = steps.find(held.versions, version.seq, version.pipe)
        if counted is None or known is None:
            continue
        name = (known.seq, known.pipe)
        documents.change_version(held, known, counted)
        if counted.state is VersionState.GONE:
            documents.went(held, now=now)
            held.remove_at.pop(name, None)
            documents.note(held, history.TimelineStep(now, history.StepName.REMOVED, counted.seq, counted.pipe))
        else:
            held.remove_at[name] = counted.since + steps.SECOND_REMOVAL_SECONDS
        documents.save(held)


def by_document(versions: Sequence[Version]) -> dict[DocumentKey, list[Version]]:
    """Each document's, in order: what one call says of a document is one transaction."""
    found: dict[DocumentKey, list[Version]] = {}
    for version in versions:
        found.setdefault(version.key, []).append(version)
    return found
