"""Accepting a change (R1 to R4) on DynamoDB: read, let `steps.accept` decide, write all of it in one transaction.

Invariant: an event's line is written under the condition that there is none, in the same transaction as what it did, so
a change is taken once, however often and wherever it arrives. A refusal is raised before anything is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, transactions
from bloomweaver.domain import events, steps, trying
from bloomweaver.domain.documents import Content, DocumentKey, Meta, Revision, Row, Version
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.events import Accepted, Change, Outcome, Rejected, Step, StoredEvent
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history

TEXT_KEPT_SECONDS = 600.0
"""How long the text of a deleted document stays after the delete (R16)."""

EVENT_KEPT_SECONDS = 7 * 86_400.0
NAMES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Found:
    """What one read gave. held: None for a document that is not there."""

    stored: items.StoredCollection
    gate: items.Gate
    held: documents.Held | None
    event: StoredEvent | None


class Accepting:
    """Takes changes. Remembers which collection had a name last, and checks it in the same read as all else."""

    def __init__(self, opened: engine.Engine) -> None:
        self._engine = opened
        self._uids: dict[tuple[str, str], CollectionUid] = {}

    async def accept(self, changes: Sequence[Change], *, now: float) -> list[Accepted | Rejected]:
        """In order where they touch the same document or event, side by side where they do not."""
        chains = _chains(changes)
        answered = await self._engine.together([self._in_turn(chain, changes, now=now) for chain in chains])
        answers = {number: answer for chain in answered for number, answer in chain.items()}
        return [answers[number] for number in range(len(changes))]

    async def _in_turn(
        self, chain: Sequence[int], changes: Sequence[Change], *, now: float
    ) -> dict[int, Accepted | Rejected]:
        return {number: await self._one(changes[number], now=now) for number in chain}

    async def _one(self, change: Change, *, now: float) -> Accepted | Rejected:
        async def attempt() -> Accepted | Rejected:
            found = await self._find(change, now=now)
            if found is None or change.collection_uid not in (None, found.stored.collection.uid):
                return Rejected(Refusal(Reason.COLLECTION_NOT_FOUND, f"There is no collection {change.collection!r}."))
            if found.event is not None:
                return events.repeated(found.event, change, None if found.held is None else found.held.row)
            try:
                return await self._taken(found, change, now=now)
            except Refusal as refusal:
                return Rejected(refusal)

        async with self._engine.turn(change.tenant + "/" + change.collection, change.document_id):
            return await self._engine.decided(attempt)

    async def _find(self, change: Change, *, now: float) -> _Found | None:
        name = (change.tenant, change.collection)
        while True:
            uid = self._uids.get(name)
            known = () if uid is None else _around(uid, change)
            named, *around = await self._engine.get([keys.collection_name(*name), *known])
            if named is None:
                self._uids.pop(name, None)
                return None
            if uid is not None and named["uid"]["S"] == uid:
                return _found(uid, around, now=now)
            if len(self._uids) >= NAMES_KEPT:
                self._uids.clear()
            self._uids[name] = CollectionUid(named["uid"]["S"])

    async def _taken(self, found: _Found, change: Change, *, now: float) -> Accepted:
        held, stored = found.held, found.stored
        key = DocumentKey(stored.collection.uid, change.document_id)
        row = None if held is None else held.row
        old = None
        if change.patch is not None and row is not None:
            item = await self._engine.one(keys.revision(key, row.seq))
            old = None if item is None else items.revision_of(key, item)
        decision = steps.accept(
            row,
            change,
            key=key,
            ordering=stored.collection.ordering,
            next_seq=await self._engine.sequence.take(above=0 if row is None else row.seq),
            now=now,
            revision=old,
            live_src=held.source(held.row.live) if held is not None else 0,
        )
        seq = decision.row.seq if decision.row is not None else 0
        following, held = _applied(found, change, decision, old, now=now)
        writes = _events(stored.collection.uid, change, decision, seq=seq, now=now)
        if held is None:
            await self._engine.write(writes)
        else:
            held.writes += writes
            await transactions.commit(self._engine, held, fenced=False)
        return Accepted(
            decision.outcome,
            decision.row,
            seq,
            change.event.event_id,
            stored.collection.uid,
            reason=decision.reason,
            steps=following,
            keeps_blob=decision.takes_seq and change.content is not None and change.content.blob is not None,
        )


def _chains(changes: Sequence[Change]) -> list[list[int]]:
    """Numbers of changes that have to be decided one after another."""
    documents_of: dict[tuple[str, str, str, str], set[str]] = {}
    chains: dict[tuple[str, str, str], list[int]] = {}
    for number, change in enumerate(changes):
        place = (change.tenant, change.collection)
        documents_of.setdefault((*place, change.event.source, change.event.event_id), set()).add(change.document_id)
        chains.setdefault((*place, change.document_id), []).append(number)
    if any(len(named) > 1 for named in documents_of.values()):  # one event's name for two documents: the first has it
        return [list(range(len(changes)))]
    return list(chains.values())


def _around(uid: CollectionUid, change: Change) -> tuple[keys.Key, ...]:
    key = DocumentKey(uid, change.document_id)
    gate = keys.gate(uid, keys.shard_of(change.document_id))
    event = keys.event(uid, change.event.source, change.event.event_id)
    return keys.collection(uid), gate, keys.row(key), event


def _found(uid: CollectionUid, around: Sequence[items.Item | None], *, now: float) -> _Found | None:
    collection, gate, row, event = around
    stored = None if collection is None else items.collection_of(collection)
    if stored is None or gate is None:
        return None
    held = transactions.held_of(collection, gate, row)
    return _Found(stored, items.gate_of(gate), held, items.event_of(uid, event, now=now))


def _events(
    uid: CollectionUid, change: Change, decision: steps.Decision, *, seq: int, now: float
) -> list[dict[str, Any]]:
    """The inbox, and the batch's list of documents."""
    event = StoredEvent(
        uid,
        change.document_id,
        change.event,
        decision.outcome,
        decision.reason,
        seq,
        change.actor,
        at=now,
        batch_id=change.batch_id,
    )
    expires_at = now + EVENT_KEPT_SECONDS
    unless = {
        "ConditionExpression": "attribute_not_exists(pk) OR expires <= :now",
        "ExpressionAttributeValues": {":now": items.number(now)},
    }
    writes: list[dict[str, Any]] = [{"Put": {"Item": items.event_item(event, expires_at=expires_at), **unless}}]
    if change.batch_id is not None:
        name = (keys.batch(change.tenant, change.batch_id), f"{uid}#{change.document_id}")
        writes.append({"Put": {"Item": {**items.named(name), "expires": items.number(int(expires_at))}}})
    return writes


def _applied(
    found: _Found, change: Change, decision: steps.Decision, old: Revision | None, *, now: float
) -> tuple[tuple[Step, ...], documents.Held | None]:
    """What the change does to the document; None where it does nothing."""
    row, held = decision.row, found.held
    if row is None:
        return (), None
    if held is None:
        held = documents.begin(found.stored, found.gate, row)
        following = documents.save(held)
        owner = (keys.owner_of_document(row.key.collection_uid, keys.doc16(row.key)), row.key.document_id)
        held.writes.append({"Put": {"Item": items.named(owner)}})
        if row.tomb:
            documents.littered(held, at=now + TEXT_KEPT_SECONDS)
    else:
        following = _update(held, row, decision, now=now)
    if decision.affirms is not None:
        _affirm(held, *decision.affirms)
    if decision.takes_seq:
        _write_revision(held, change, decision.meta, old)
        following = documents.save(held)
    if decision.takes_seq or decision.outcome is Outcome.SUPERSEDED:
        _tell(held, change, decision, row, now=now)
    return following, held if held.dirty else None


def _update(held: documents.Held, row: Row, decision: steps.Decision, *, now: float) -> tuple[Step, ...]:
    """The row that was there: what the change condemns dies in the same transaction."""
    before, held.row = held.row, row
    doomed = [v for v in held.versions if v.seq < decision.kills_below]
    if decision.unflips:
        doomed += [v for v in held.versions if v.seq == before.live]
    if row.fsrc > before.fsrc:
        doomed += [v for v in held.versions if _abandoned(held, row, v)]
    documents.kill(held, doomed, now=now)
    if row.tomb and not before.tomb:
        documents.littered(held, at=now + TEXT_KEPT_SECONDS)
    elif decision.takes_seq and before.live != before.seq:
        documents.littered(held, at=now)  # what was there may never be shown
    if before.live and not row.live:
        reason = Reason.DELETED_BY_CLIENT
        documents.note(held, history.TimelineStep(now, history.StepName.HIDDEN, before.live, reason=reason))
    if row == before:
        return steps.next_steps(row, held.versions, held.generation)
    return documents.save(held)


def _abandoned(held: documents.Held, row: Row, version: Version) -> bool:
    if version.state in documents.ENDED:
        return False
    return steps.is_abandoned(row, version, src=held.source(version.seq))


def _affirm(held: documents.Held, seq: int, src: int) -> None:
    """The revision's order key rises; on its own item it is what `look` tells, beside the row what is decided by."""
    known = held.sources[seq]
    raised = max(known.src, src)
    held.sources[seq] = replace(known, src=raised)
    held.dirty = True
    change = {
        "Key": items.named(keys.revision(held.key, seq)),
        "UpdateExpression": "SET src = :src",
        "ConditionExpression": "attribute_exists(pk)",
        "ExpressionAttributeValues": {":src": items.number(raised)},
    }
    held.writes.append({"Update": change})


def _write_revision(held: documents.Held, change: Change, meta: Meta | None, old: Revision | None) -> None:
    """What was sent. A patch keeps the content that it found, by the name of its blob where it is large."""
    row = held.row
    content: Content | None = change.content
    tokens = None
    if change.patch is not None and old is not None:
        content, tokens = old.content, old.tokens
    revision = Revision(
        row.key,
        row.seq,
        row.src,
        content,
        meta or Meta(),
        change.origin,
        change.actor,
        change.request_id,
        change.event.event_id,
        change.occurred_at,
        row.accepted_at,
        tokens,
    )
    held.writes.append({"Put": {"Item": items.revision_item(revision)}})
    held.sources[row.seq] = documents.Source(row.src, row.accepted_at)
    held.revisions += 1
    if change.content is not None and change.content.blob is not None:
        owner = items.named(keys.owner_of_blob(row.key.collection_uid, change.content.blob))
        held.writes.append({"Put": {"Item": {**owner, "document": items.text(row.key.document_id)}}})


def _tell(held: documents.Held, change: Change, decision: steps.Decision, row: Row, *, now: float) -> None:
    superseded = decision.outcome is Outcome.SUPERSEDED
    name = history.StepName.SUPERSEDED if superseded else history.StepName.ACCEPTED
    step = history.TimelineStep(
        now,
        name,
        row.seq,
        reason=decision.reason,
        detail="" if superseded else decision.outcome,
        actor=change.actor,
        request_id=change.request_id,
    )
    documents.note(held, step)


def retry(held: documents.Held, *, actor: str, request_id: str, now: float) -> Accepted | None:
    """A failed document begins anew: what was begun and not finished is dropped, what is finished is kept."""
    again = trying.begun_in_vain(held.row, held.versions, held.generation)
    if again is None:
        return None
    held.versions = [v for v in held.versions if v not in again]
    documents.littered(held, at=now)
    row = held.row = trying.tried_anew(held.row, now=now)
    step = history.TimelineStep(
        now, history.StepName.RETRIED, row.seq, reason=Reason.REDRIVEN, actor=actor, request_id=request_id
    )
    documents.note(held, step)
    following = documents.save(held)
    uid = held.stored.collection.uid
    return Accepted(Outcome.UNCHANGED, held.row, row.seq, "", uid, reason=Reason.REDRIVEN, steps=following)
