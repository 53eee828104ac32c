"""Which pipelines a collection is kept in, changed by compare-and-set (R15).

A change is one transaction over the collection and the gates of all its shards: from then on no document's change that
was decided under the old generation is written. With it two scans begin: one finds what the new generation needs, the
other buries what it no longer names.

A promotion counts first, page by page. What flips meanwhile flips to what every current pipeline has ready, so the
count stays right; a flip that leaves a pipeline behind (it failed the document) is counted by its gate as `lame`, and
the promotion is written only over the gates' numbers from before the count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bloomweaver.adapters.engines.dynamodb import documents, engine, items, keys, scanning
from bloomweaver.domain import steps
from bloomweaver.domain.documents import DocumentKey, Generation, VersionState
from bloomweaver.domain.identity import CollectionUid, Pipe
from bloomweaver.ports import registry

LAGGARDS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A collection and its gates, as read."""

    stored: items.StoredCollection
    gates: Mapping[int, items.Gate]


async def place(opened: engine.Engine, uid: CollectionUid) -> Place | None:
    """None for a collection that is not there, or deleted."""
    found = {item["sk"]["S"]: item for item in await opened.all(keys.collection_part(uid))}
    collection = found.get(keys.collection(uid)[1])
    stored = None if collection is None else items.collection_of(collection)
    if stored is None:
        return None
    gates = {shard: items.gate_of(found[keys.gate(uid, shard)[1]]) for shard in range(keys.SHARDS)}
    return Place(stored, gates)


async def gate(opened: engine.Engine, uid: CollectionUid, pipe: Pipe) -> registry.Gate:
    """Counted row by row: promotion rests on it."""
    counted = await opened.together([_gate_of(opened, uid, pipe, shard) for shard in range(keys.SHARDS)])
    laggards = sorted((key for one in counted for key in one.laggards), key=lambda key: key.document_id)
    return registry.Gate(
        sum(one.total for one in counted),
        sum(one.ready for one in counted),
        sum(one.failed for one in counted),
        tuple(laggards[:LAGGARDS_NAMED]),
    )


async def _gate_of(opened: engine.Engine, uid: CollectionUid, pipe: Pipe, shard: int) -> registry.Gate:
    total = ready = failed = 0
    laggards: list[DocumentKey] = []
    async for item in scanning.partition(opened, uid, shard):
        row, versions = documents.row_and_versions(item)
        if not row.live:
            continue
        version = steps.find(versions, row.live, pipe)
        is_ready = version is not None and version.state in steps.BUILT
        total += 1
        ready += is_ready
        failed += version is not None and version.state is VersionState.FAILED
        if not is_ready and len(laggards) < LAGGARDS_NAMED:
            laggards.append(row.key)
    return registry.Gate(total, ready, failed, tuple(laggards))


async def save(
    opened: engine.Engine, there: Place, wanted: Generation, *, strict: bool, counted: registry.Gate | None = None
) -> registry.Moved:
    """Written over what was read. strict: only if no flip left a pipeline behind since."""
    uid, epoch = there.stored.collection.uid, there.stored.generation.epoch
    wanted = replace(wanted, epoch=epoch + 1)
    values = {":was": items.number(epoch)}
    changed = items.generation_attributes(wanted)
    values |= {f":{name}": value for name, value in changed.items()}
    collection = {
        "Key": items.named(keys.collection(uid)),
        "UpdateExpression": "SET epoch = :epoch, pipelines = :pipelines",
        "ConditionExpression": "epoch = :was AND attribute_not_exists(deleted_at)",
        "ExpressionAttributeValues": values,
    }
    scan = {**items.named((keys.SCANS, uid)), "backfill": items.text(""), "bury": items.text("")}
    gates = [_raised(uid, shard, one, wanted.epoch, strict=strict) for shard, one in there.gates.items()]
    await opened.write([{"Update": collection}, {"Put": {"Item": scan}}, *gates, *made_with(wanted)])
    return registry.Moved(wanted, counted)


def _raised(uid: CollectionUid, shard: int, was: items.Gate, epoch: int, *, strict: bool) -> dict[str, Any]:
    change: dict[str, Any] = {
        "Key": items.named(keys.gate(uid, shard)),
        "UpdateExpression": "SET epoch = :epoch",
        "ExpressionAttributeValues": {":epoch": items.number(epoch)},
    }
    if strict:
        change["ConditionExpression"] = "lame = :lame"
        change["ExpressionAttributeValues"][":lame"] = items.number(was.lame)
    return {"Update": change}


def made_with(generation: Generation) -> list[dict[str, Any]]:
    """What a generation leaves behind it: names of namespaces and spaces."""
    uid = generation.collection_uid
    puts: list[dict[str, Any]] = []
    spaces = dict.fromkeys(pipeline.space for pipeline in generation.pipelines)
    puts += [{"Put": {"Item": items.named((keys.SPACES, space))}} for space in spaces]
    for pipe in dict.fromkeys(pipeline.pipe for pipeline in generation.pipelines):
        # An update, because one that is there keeps its position.
        key = items.named(keys.namespace(uid, pipe))
        values = {":yes": {"BOOL": True}}
        puts.append(
            {"Update": {"Key": key, "UpdateExpression": "SET known = :yes", "ExpressionAttributeValues": values}}
        )
    return puts
