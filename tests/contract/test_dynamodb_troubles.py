"""What DynamoDB does to its clients and the contracts do not show: lost answers, throttling, lagging indexes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import botocore.exceptions
import pytest

from bloomweaver.adapters.engines.aws import clients
from bloomweaver.adapters.engines.dynamodb import engine, keys, tables
from bloomweaver.adapters.ledger import dynamodb_building
from bloomweaver.domain import errors
from bloomweaver.domain.documents import Meta
from bloomweaver.domain.events import Outcome
from bloomweaver.domain.identity import BuildId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world
from tests.support import dynamodb
from tests.support.servers import processes

Trouble = Callable[[str, dict[str, Any], Callable[[], Any]], Any]
MANY = dynamodb_building.CHUNKS_IN_TRANSACTION + 1


class Troubled:
    """The SDK's client, with a trouble around each of its operations."""

    def __init__(self, client: Any, trouble: Trouble) -> None:
        self._client = client
        self._trouble = trouble

    def __getattr__(self, operation: str) -> Any:
        async def call(**parameters: Any) -> Any:
            return await self._trouble(operation, parameters, lambda: getattr(self._client, operation)(**parameters))

        return call


@pytest.fixture
def url(dynamodb_server: processes.Server) -> str:
    return dynamodb.address(dynamodb_server.url)


@pytest.fixture
async def database(url: str, time: clocks.ManualClock) -> AsyncIterator[dynamodb.Database]:
    async with dynamodb.opened(url, time) as opened:
        yield opened


@pytest.fixture
async def w(database: dynamodb.Database, time: clocks.ManualClock) -> world.World:
    return await world.make(database, time)


def troubled(w: world.World, trouble: Trouble) -> world.World:
    """The same world, seen by a process that has it harder."""
    assert isinstance(w.database, dynamodb.Database)
    there = w.database.engine
    client = Troubled(there.calls.client, trouble)
    calls = clients.Calls(client, what="The table", unavailable=Reason.LEDGER_UNAVAILABLE, connections=64)
    made = engine.Engine(calls, there.table, clock=w.time, nonces=there.nonces)
    return world.World(dynamodb.on(made), w.time, w.collection, events=1000)


def throttled(operation: str) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": "ThrottlingException", "Message": "Slow down"}}
    return botocore.exceptions.ClientError(answer, operation)


async def test_a_change_whose_answer_was_lost_is_made_once(w: world.World) -> None:
    lost: list[str] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        answer = await call()
        if operation == "transact_write_items" and not lost:
            lost.append(parameters["ClientRequestToken"])
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="there")
        return answer

    answer = await troubled(w, trouble).accept(w.change("text"))
    row = await w.row()
    assert lost
    assert (row.seq, answer.seq, answer.original) == (answer.seq, row.seq, None)
    assert answer.outcome is Outcome.CREATED
    assert [step.step for step in await w.database.history.timeline(w.key())] == ["accepted"]


async def test_throttling_is_waited_for(w: world.World) -> None:
    refused: list[str] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if refused.count(operation) < 2:
            refused.append(operation)
            raise throttled(operation)
        return await call()

    slow = troubled(w, trouble)
    seq = await slow.put("text")
    assert (await slow.index(seq)).flipped
    assert {"batch_get_item", "transact_write_items", "update_item"} <= set(refused)


async def test_throttling_without_end_is_an_outage_that_passes(w: world.World) -> None:
    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        raise throttled(operation)

    with pytest.raises(errors.TransientError) as refused:
        await troubled(w, trouble).ledger.rows([w.key()])
    assert refused.value.reason is Reason.LEDGER_UNAVAILABLE


async def test_what_was_left_unprocessed_is_asked_for_again(w: world.World) -> None:
    await w.put("text", "a")
    await w.put("text", "b")

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        (table, request), *_ = parameters.get("RequestItems", {"": None}).items()
        if operation != "batch_get_item" or len(request["Keys"]) < 2:
            return await call()
        some = {table: {**request, "Keys": request["Keys"][:1]}}
        answer = await w.database.engine.calls.client.batch_get_item(RequestItems=some)  # type: ignore[attr-defined]  # ours
        return {**answer, "UnprocessedKeys": {table: {**request, "Keys": request["Keys"][1:]}}}

    rows = await troubled(w, trouble).ledger.rows([w.key("a"), w.key("b"), w.key("c")])
    assert [row and row.key.document_id for row in rows] == ["a", "b", None]


async def test_a_position_is_kept_though_a_transaction_is_in_the_way(w: world.World) -> None:
    await w.intend(await w.put())
    busy: list[bool] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "update_item" and len(busy) < 3:
            busy.append(True)
            answer = {"Error": {"Code": "TransactionConflictException", "Message": "Transaction is ongoing"}}
            raise botocore.exceptions.ClientError(answer, operation)
        return await call()

    assert (await troubled(w, trouble).settle((await w.row()).seq, position=7)).flipped
    assert (await w.ledger.snapshot([w.collection.uid])).positions == {w.collection.uid: 7}


async def test_transactions_that_are_in_each_others_way_are_decided_again(w: world.World) -> None:
    cancelled: list[bool] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "transact_write_items" and len(cancelled) < 5:
            cancelled.append(True)
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
            answer = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise botocore.exceptions.ClientError(answer, operation)
        return await call()

    assert (await troubled(w, trouble).accept(w.change("text"))).outcome is Outcome.CREATED


async def test_what_no_item_holds_is_refused_and_nothing_of_it_is_kept(w: world.World) -> None:
    change = w.change("text", meta=Meta(title="x" * 500_000))
    with pytest.raises(errors.PermanentError) as refused:
        await w.ledger.accept([change])
    assert refused.value.reason is Reason.TOO_LARGE
    assert await w.ledger.rows([w.key()]) == [None]


async def test_an_index_that_lags_makes_nothing_due(w: world.World) -> None:
    await w.shown("text", "shown")
    await w.put("text", "waits")
    everything = [keys.row(w.key(name)) for name in ("shown", "waits", "never-was")]

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if "IndexName" not in parameters:
            return await call()
        return {"Items": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in everything]}

    before = await w.ledger.look([w.key("shown"), w.key("waits")])
    lagging = troubled(w, trouble)
    lanes = frozenset({"create", "update", "delete", f"change:{world.A.space}"})
    assert await lagging.healing.stuck(limit=10, empty_lanes=lanes) == []
    assert await lagging.healing.removals(limit=10) == []
    assert await lagging.healing.garbage(limit=10) == []
    assert await w.ledger.look([w.key("shown"), w.key("waits")]) == before
    assert await lagging.ledger.oldest_pending(world.TENANT) == w.time.now()


async def test_a_build_of_many_chunks_is_kept_whole(w: world.World) -> None:
    seq = await w.put()
    assert (await w.index(seq, count=MANY)).flipped
    assert await w.ledger.chunks(w.key(), seq=seq, pipe=world.A.pipe) == list(world.chunks(MANY))
    await w.delete()
    await w.remove_all()
    assert [item.build for item in await w.collect() if item.build] == [(world.A.pipe, w.intent(seq).build)]
    beside = await w.database.engine.all(keys.document(w.key()))  # type: ignore[attr-defined]  # ours has one
    assert not [item for item in beside if item["sk"]["S"].startswith("chunk#")]


async def test_of_two_builds_of_many_chunks_the_first_wins_and_the_other_is_garbage_later(w: world.World) -> None:
    intent = w.intent(await w.put(), count=MANY)
    intents = [replace(intent, build=BuildId(f"build-{n}")) for n in range(2)]
    answers = await asyncio.gather(*(w.ledger.intend([one]) for one in intents))
    assert sorted(answer.won for (answer,) in answers) == [False, True]
    (winner,) = (one.build for one, (answer,) in zip(intents, answers, strict=True) if answer.won)
    await w.settle(intent.seq)
    w.time.advance(dynamodb_building.ANNOUNCED_SECONDS)
    loser = {one.build for one in intents} - {winner}
    assert {item.build[1] for item in await w.collect() if item.build} <= loser
    assert len(await w.ledger.chunks(w.key(), seq=intent.seq, pipe=world.A.pipe)) == MANY


async def test_chunks_that_were_written_for_nothing_are_garbage_after_an_hour(w: world.World) -> None:
    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "batch_write_item":
            await call()
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="there")
        return await call()

    await w.shown("zero")
    replaced = await w.put("one")
    intent = w.intent(await w.put("two"), count=MANY)
    with pytest.raises(errors.TransientError):
        await troubled(w, trouble).ledger.intend([intent])
    assert [(item.revision, item.build) for item in await w.collect()] == [(replaced, None)]
    assert await w.collect() == []
    w.time.advance(dynamodb_building.ANNOUNCED_SECONDS)
    assert [item.build for item in await w.collect()] == [(world.A.pipe, intent.build)]
    assert (await w.intend(intent.seq, count=MANY)).won
    assert len(await w.ledger.chunks(w.key(), seq=intent.seq, pipe=world.A.pipe)) == MANY


async def test_a_build_that_is_being_dropped_is_not_named_again(w: world.World) -> None:
    """Between the mark and the end of a drop comes the hint that was given for the same build before."""
    intent = replace(w.intent(await w.put()), content_hash="h")
    await w.ledger.intend([intent])
    failure = ledger.Failure(w.key(), intent.seq, world.A.pipe, Reason.UNPARSABLE, "", permanent=True)
    await w.ledger.fail(failure)
    await w.ledger.retry(w.key(), actor="ann", request_id="r")
    again: list[ledger.Intended] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "batch_write_item":
            again.extend(await w.ledger.intend([intent]))
        return await call()

    (litter,) = await w.healing.garbage(limit=10)
    await troubled(w, trouble).healing.forget([litter])
    assert [(one.won, one.version) for one in again] == [(False, None)]
    assert (await w.ledger.intend([intent]))[0].won
    assert await w.ledger.chunks(w.key(), seq=intent.seq, pipe=world.A.pipe) == list(world.chunks(2))


async def test_a_revision_that_comes_while_garbage_is_looked_for_keeps_its_blob(w: world.World) -> None:
    """A metadata edit names the blob of the revision that it edits."""
    await w.put("one", blob="raw/1")
    edited: list[int] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        answer = await call()
        if operation == "query" and "rev#" in str(parameters) and not edited:
            edited.append((await w.patch(team="legal")).seq)
        return answer

    await w.patch(team="finance")
    found = await troubled(w, trouble).healing.garbage(limit=10)
    assert edited
    assert not [item for item in found if item.blobs]
    assert await w.healing.owned_blobs(w.collection.uid, ["raw/1"]) == {"raw/1"}


async def test_a_flip_that_leaves_the_building_pipeline_behind_is_not_missed_by_a_promotion(w: world.World) -> None:
    await w.shown("text", "a")
    await w.build()
    await w.index((await w.row("a")).seq, "a", pipe=world.B.pipe)
    flipped: list[bool] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "transact_write_items" and not flipped:
            flipped.append(True)
            seq = await w.put("text", "b")
            gives_up = ledger.Failure(w.key("b"), seq, world.B.pipe, Reason.UNPARSABLE, "", permanent=True)
            await w.ledger.fail(gives_up)
            assert (await w.index(seq, "b")).flipped
        return await call()

    moved = await troubled(w, trouble).promote()
    assert flipped
    assert (moved.generation, moved.gate and moved.gate.laggards) == (None, (w.key("b"),))


async def test_a_generation_that_changes_while_a_flip_is_written_holds_it(w: world.World) -> None:
    seq = await w.put()
    await w.intend(seq)
    built: list[bool] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "transact_write_items" and not built:
            built.append(True)
            await w.build()
        return await call()

    assert not (await troubled(w, trouble).settle(seq)).flipped
    assert (await w.row()).live == 0


async def test_a_flip_beside_another_one_of_its_shard_is_noticed_by_a_search_between_them(w: world.World) -> None:
    names = [name for name in map(str, range(100)) if keys.shard_of(name) == keys.shard_of("0")][:2]
    seqs = {name: await w.put("text", name) for name in names}
    for name in names:
        await w.intend(seqs[name], name)
    taken: list[ledger.Snapshot] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "transact_write_items" and not taken:
            await w.settle(seqs[names[1]], names[1])
            taken.append(await w.ledger.snapshot([w.collection.uid]))
        return await call()

    assert (await troubled(w, trouble).settle(seqs[names[0]], names[0])).flipped
    (between,) = taken[:1]
    assert (await w.ledger.visible(w.collection.uid, [names[0]], snapshot=between)).moved
    assert not (await w.ledger.visible(w.collection.uid, [names[1]], snapshot=between)).moved


async def test_a_document_of_a_deleted_collection_leaves_the_indexes(w: world.World) -> None:
    await w.put()
    await w.database.registry.delete_collection(w.collection.uid)
    w.time.advance(60)
    assert await w.healing.stuck(limit=10) == []
    item = await w.database.engine.one(keys.row(w.key()))  # type: ignore[attr-defined]  # ours has one
    assert item is not None
    assert "due_in" not in item


async def test_a_change_that_lands_after_its_collection_was_deleted_is_erased_too(w: world.World) -> None:
    deleted: list[bool] = []

    async def trouble(operation: str, parameters: dict[str, Any], call: Callable[[], Any]) -> Any:
        if operation == "transact_write_items" and not deleted:
            deleted.append(True)
            await w.database.registry.delete_collection(w.collection.uid)
            assert await w.healing.erase(w.collection.uid, limit=10)
        return await call()

    await troubled(w, trouble).accept(w.change("text"))
    w.time.advance(24 * 3600)
    assert await w.healing.erase(w.collection.uid, limit=10)
    left = await w.database.engine.calls.client.scan(TableName=w.database.engine.table)  # type: ignore[attr-defined]  # ours
    assert not [item["pk"]["S"] for item in left["Items"] if w.collection.uid in str(item)]


async def test_a_table_that_is_not_there_is_named(url: str, time: clocks.ManualClock) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"is not there\. Run bloomweaver migrate"):
        async with dynamodb.opened(url, time, migrates=False):
            pass


async def test_a_table_of_another_kind_is_refused(database: dynamodb.Database, time: clocks.ManualClock) -> None:
    calls = database.engine.calls
    name = f"{database.engine.table}-other"
    attribute = [{"AttributeName": "id", "AttributeType": "S"}]
    schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    await calls.client.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=attribute, KeySchema=schema
    )
    other = dynamodb.beside(database, name)
    with pytest.raises(errors.ConfigurationError, match="is not one of ours"):
        await tables.ready(other, dynamodb.parsed(name), migrates=True)


async def test_a_table_of_a_newer_release_is_refused(
    database: dynamodb.Database, url: str, time: clocks.ManualClock
) -> None:
    newer = {":version": {"N": str(tables.SCHEMA + 1)}}
    await database.engine.update(keys.SCHEMA, "SET version = :version", newer)
    with pytest.raises(errors.ConfigurationError) as refused:
        async with dynamodb.opened(url, time):
            pass
    assert refused.value.reason is Reason.SCHEMA_TOO_NEW


async def test_a_table_that_lost_its_time_to_live_gets_it_again(
    database: dynamodb.Database, url: str, time: clocks.ManualClock
) -> None:
    """Whoever made it died in between, or it was restored."""
    client, table = database.engine.calls.client, database.engine.table
    off = {"Enabled": False, "AttributeName": tables.EXPIRES}
    await client.update_time_to_live(TableName=table, TimeToLiveSpecification=off)
    async with dynamodb.opened(url, time):
        found = await client.describe_time_to_live(TableName=table)
    assert found["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLED", "ENABLING")


async def test_processes_that_make_the_table_at_once_all_find_it(url: str, time: clocks.ManualClock) -> None:
    async def deployment() -> str:
        async with dynamodb.opened(url, time) as opened:
            return await opened.registry.deployment()

    assert len(set(await asyncio.gather(*(deployment() for _ in range(4))))) == 1
