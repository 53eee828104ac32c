"""One document's change as one transaction: read, decide, write what was decided over what was read, or begin anew.

Three conditions make it right. The row is written over the number that was read. What depends on the generation is
fenced by the gate of the document's shard, whose epoch every change of the generation raises in its own transaction
(R8, R15). What changes the shown seq takes the next value of the gate's flip counter over the one that was read (R11).
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys
from bloomweaver.domain.documents import DocumentKey, State

T = TypeVar("T")
Beside = TypeVar("Beside")


async def hold(opened: engine.Engine, key: DocumentKey) -> documents.Held | None:
    """The document, or None where it or its collection is not there."""
    names = (keys.collection(key.collection_uid), _gate(key), keys.row(key))
    collection, gate, row = await opened.get(names)
    return held_of(collection, gate, row)


def held_of(collection: items.Item | None, gate: items.Item | None, row: items.Item | None) -> documents.Held | None:
    """From the three items that were read together."""
    if collection is None or gate is None or row is None:
        return None
    stored = items.collection_of(collection)
    return None if stored is None else documents.load(stored, items.gate_of(gate), row)


async def change(opened: engine.Engine, key: DocumentKey, decide: Callable[[documents.Held], T], *, absent: T) -> T:
    """What `decide` says of the document, after what it did to it is written. absent: where there is none.

    decide runs again, on a fresh read, where others were first: it touches nothing but what it is given.
    """

    return await change_beside(opened, key, _nothing, lambda held, _: decide(held), absent=absent)


async def change_beside(
    opened: engine.Engine,
    key: DocumentKey,
    beside: Callable[[], Awaitable[Beside]],
    decide: Callable[[documents.Held, Beside], T],
    *,
    absent: T,
) -> T:
    """The same, with what stands beside the row. It is read after the row: what comes to it later changes the row too,
    and then nothing of this is written."""

    async def attempt() -> T:
        held = await hold(opened, key)
        if held is None:
            return absent
        answer = decide(held, await beside())
        if held.dirty:
            await commit(opened, held)
        return answer

    async with opened.turn(key.collection_uid, key.document_id):
        return await opened.decided(attempt)


async def _nothing() -> None:
    return None


async def commit(opened: engine.Engine, held: documents.Held, *, fenced: bool = True) -> None:
    """Write what was decided. fenced: only under the generation that was read.

    An accept is not: it decides nothing by the generation, and its hint is looked at again where that has changed.
    """
    await opened.write([*_row(held), *_gates(held, fenced=fenced), *_marks(opened, held), *held.writes])


def _row(held: documents.Held) -> list[dict[str, Any]]:
    if not held.dirty and not held.dropped:
        return []
    values = {":n": items.number(held.n)}
    if held.dropped:
        condition: dict[str, Any] = {"ConditionExpression": "n = :n", "ExpressionAttributeValues": values}
        return [{"Delete": {"Key": items.named(keys.row(held.key)), **condition}}]
    item = documents.item_of(held)
    if not held.n:
        return [{"Put": {"Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}]
    return [{"Put": {"Item": item, "ConditionExpression": "n = :n", "ExpressionAttributeValues": values}}]


def _gates(held: documents.Held, *, fenced: bool) -> list[dict[str, Any]]:
    key = items.named(_gate(held.key))
    values = {":epoch": items.number(held.generation.epoch)}
    if held.flipped:
        values |= {":was": items.number(held.gate.flips), ":one": items.number(1)}
        raised = "ADD flips :one, lame :one" if held.lame else "ADD flips :one"
        condition = "epoch = :epoch AND flips = :was"
        return [
            {
                "Update": {
                    "Key": key,
                    "UpdateExpression": raised,
                    "ConditionExpression": condition,
                    "ExpressionAttributeValues": values,
                }
            }
        ]
    if not fenced:
        return []
    return [
        {"ConditionCheck": {"Key": key, "ConditionExpression": "epoch = :epoch", "ExpressionAttributeValues": values}}
    ]


def _marks(opened: engine.Engine, held: documents.Held) -> list[dict[str, Any]]:
    """Counts by state, and the list of what failed."""
    before = documents.state_of(held.was)
    after = None if held.dropped else held.row.state
    if before is after:
        return []
    marks = [_tally(opened, held, before, after)]
    key = (keys.failed(held.key.collection_uid), held.key.document_id)
    if after is State.FAILED:
        marks.append({"Put": {"Item": items.named(key)}})
    elif before is State.FAILED:
        marks.append({"Delete": {"Key": items.named(key)}})
    return marks


def _tally(opened: engine.Engine, held: documents.Held, before: State | None, after: State | None) -> dict[str, Any]:
    """One of many counters, so that no two writes of this process meet, and those of others seldom."""
    number = (opened.tally_offset + keys.shard_of(held.key.document_id)) % keys.TALLIES
    moved = [(state, by) for state, by in ((before, -1), (after, 1)) if state is not None]
    return {
        "Update": {
            "Key": items.named((keys.tallies(held.key.collection_uid), f"{number:03d}")),
            "UpdateExpression": "ADD " + ", ".join(f"#{state} :{state}" for state, _ in moved),
            "ExpressionAttributeNames": {f"#{state}": str(state) for state, _ in moved},
            "ExpressionAttributeValues": {f":{state}": items.number(by) for state, by in moved},
        }
    }


def _gate(key: DocumentKey) -> keys.Key:
    return keys.gate(key.collection_uid, keys.shard_of(key.document_id))
