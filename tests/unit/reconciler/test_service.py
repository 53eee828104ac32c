"""Healing: what is stuck gets hinted, what is over goes, and nothing else is touched."""

import pytest

from bloomweaver.domain import identity
from bloomweaver.domain.documents import State
from bloomweaver.domain.errors import PermanentError
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues
from tests.support import pipelines


async def test_a_lost_hint_is_sent_again_at_once_where_the_lane_is_empty() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await _lose_all_hints(pipe)
        pipe.clock.advance(6.0)

        report = await pipe.reconciler.round()
        await pipe.settle()

        assert report.done["hinted"] == 1
        assert (await pipe.look("a")).row.state is State.SEARCHABLE


async def test_what_was_hinted_lately_is_not_hinted_again() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.put("b", "four five six")
        pipe.clock.advance(6.0)

        report = await pipe.reconciler.round()

        assert report.done["hinted"] == 0


async def test_a_hint_that_crashes_its_readers_becomes_a_dead_letter_with_a_reason() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        for _ in range(queues.MAX_RECEIVES + 1):
            await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0)
            pipe.clock.advance(2.0)

        await pipe.reconciler.round()

        row = (await pipe.look("a")).row
        assert (row.state, row.reason) == (State.FAILED, Reason.READER_CRASHED)
        assert (await pipe.store.queues.depths())[pipe.change_queue].dead == 0


async def test_an_outage_long_ago_does_not_save_a_text_that_crashes_its_readers() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        row = (await pipe.look("a")).row
        await pipe.ledger.postpone([row.key], seq=row.seq, reason=Reason.THROTTLED, delay_seconds=5.0)
        for _ in range(queues.MAX_RECEIVES + 1):
            await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0)
            pipe.clock.advance(2.0)

        await pipe.reconciler.round()

        assert (await pipe.look("a")).row.reason is Reason.READER_CRASHED


async def test_text_and_builds_of_a_deleted_document_go_ten_minutes_after_the_delete() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "secret words " * 10_000)
        await pipe.settle()
        await pipe.delete("a")
        await pipe.settle()

        for _ in range(3):
            pipe.clock.advance(601.0)
            await pipe.reconciler.round()
            await pipe.settle()

        left = [blob.key async for blob in pipe.store.blobs.list("")]
        look = await pipe.look("a")
        assert left == []
        assert all(revision.content is None for revision in look.revisions)


async def test_a_deleted_collection_leaves_neither_vectors_nor_blobs() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "words " * 20_000)
        await pipe.settle()
        uid = (await pipe.collection()).uid
        await pipe.store.database.registry.delete_collection(uid)

        await pipe.reconciler.round()

        assert await pipe.stored_ids() == set()
        assert [blob.key async for blob in pipe.store.blobs.list("")] == []


async def test_what_is_written_late_for_a_deleted_collection_goes_too() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "words " * 20_000)
        await pipe.settle()
        uid = (await pipe.collection()).uid
        await pipe.store.database.registry.delete_collection(uid)
        await pipe.reconciler.round()
        await pipe.store.blobs.put(f"{identity.blob_prefix(pipe.deployment, uid)}processed/late", b"by a frozen worker")

        await pipe.reconciler.round()
        assert await _keys(pipe), "looked at again at once: a listing every few seconds, for nothing"

        pipe.clock.advance(3600)
        await pipe.reconciler.round()
        assert not await _keys(pipe)
        pipe.clock.advance(86_400)
        await pipe.reconciler.round()
        assert await pipe.store.database.healing.retired() == []


async def _keys(pipe: pipelines.Pipeline) -> list[str]:
    return [blob.key async for blob in pipe.store.blobs.list("")]


async def test_a_sweep_removes_what_no_document_owns_and_nothing_else() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        owned = await pipe.stored_ids()
        look = await pipe.look("a")
        await _stray(pipe, "ghost", 7, look.versions[0].pipe)

        swept = await pipe.reconciler.sweeper.sweep(force=False)

        assert swept.removed == 1
        assert await pipe.stored_ids() == owned


async def test_a_sweep_that_would_remove_too_much_refuses() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        look = await pipe.look("a")
        for number in range(1001):
            await _stray(pipe, f"ghost-{number}", 7, look.versions[0].pipe)

        with pytest.raises(PermanentError) as refused:
            await pipe.reconciler.sweeper.sweep(force=False)

        assert refused.value.reason is Reason.SWEEP_REFUSED
        assert (await pipe.reconciler.sweeper.sweep(force=True)).removed == 1001


async def test_a_blob_that_nobody_names_is_swept_when_it_is_old() -> None:
    async with pipelines.opened() as pipe:
        uid = (await pipe.collection()).uid
        await pipe.store.blobs.put(identity.raw_blob_key(pipe.deployment, uid, document_id="a", nonce="x"), b"orphan")

        young = await pipe.reconciler.sweeper.sweep(force=False)
        pipe.clock.advance(90_000.0)
        old = await pipe.reconciler.sweeper.sweep(force=False)

        assert (young.blobs, old.blobs) == (0, 1)


async def _lose_all_hints(pipe: pipelines.Pipeline) -> None:
    for queue in list(await pipe.store.queues.depths()):
        batch = await pipe.store.queues.receive(queue, limit=100, visibility_seconds=60.0)
        await pipe.store.queues.ack(queue, batch)


async def _stray(pipe: pipelines.Pipeline, document_id: str, seq: int, name: identity.Pipe) -> None:
    uid = (await pipe.collection()).uid
    await pipe.upsert_stray(uid, document_id, seq, name)


async def test_the_first_sweep_comes_half_an_hour_after_the_start() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        look = await pipe.look("a")
        await _stray(pipe, "ghost", 7, look.versions[0].pipe)

        early = await pipe.reconciler.round()
        pipe.clock.advance(1801.0)
        later = await pipe.reconciler.round()

        assert (early.done["swept"], later.done["swept"]) == (0, 1)
