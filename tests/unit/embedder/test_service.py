"""Building: what is embedded, what is used again, and what is recorded before anything is written."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bloomweaver.domain import identity
from bloomweaver.domain.documents import State, VersionState
from bloomweaver.domain.errors import PermanentError, RetryableError, TransientError
from bloomweaver.domain.identity import DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.embedder import service
from bloomweaver.ports import embedders, queues
from tests.support import pipelines

LONG = "\n\n".join(f"paragraph {number} " + "word " * 24 for number in range(12))


async def test_a_build_is_stored_and_an_intent_recorded_before_any_vector() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")

        await pipe.work(pipe.change_queue)

        (version,) = (await pipe.look("a")).versions
        assert version.state is VersionState.INTENT
        assert await pipe.stored_ids() == set()
        uid = (await pipe.collection()).uid
        key = identity.build_blob_key(pipe.deployment, uid, pipe=version.pipe, build=version.build)
        assert await pipe.store.blobs.get(key)


async def test_the_same_hint_twice_builds_once() -> None:
    async with pipelines.opened() as pipe:
        accepted = await pipe.put("a", "one two three")
        assert accepted.row is not None
        worker = pipe.workers[pipe.change_queue]
        hint = (await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0))[0].hint

        assert await worker.work([hint]) == []
        (first,) = (await pipe.look("a")).versions
        assert await worker.work([hint]) == []

        (second,) = (await pipe.look("a")).versions
        assert second.build == first.build


async def test_of_many_hints_those_with_something_to_do_are_found_and_one_for_each_document() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("done", "one two three")
        await pipe.settle()
        await pipe.put("gone", "one two three")
        await pipe.delete("gone")
        for text in ("first", "second", "third"):
            await pipe.put("edited", text)
        received = await pipe.store.queues.receive(pipe.change_queue, limit=10, visibility_seconds=60.0)
        edits = [delivery.hint for delivery in received if delivery.hint.document_id == "edited"]
        old = [delivery.hint for delivery in received if delivery.hint not in edits]
        done = replace(old[0], document_id=DocumentId("done"))
        unknown = replace(old[0], document_id=DocumentId("unknown"))
        suspicious = replace(edits[1], unanswered=2)

        worker = pipe.workers[pipe.change_queue]
        assert isinstance(worker, service.EmbedderService)
        wanted = await worker.sift([*old, done, unknown, edits[0], suspicious, edits[2]])

        assert (len(edits), len(old)) == (3, 1)
        assert wanted == {suspicious}


async def test_the_same_hint_twice_at_once_is_done_for_neither_before_the_intent_stands() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        worker = pipe.workers[pipe.change_queue]
        hint = (await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0))[0].hint

        async def intents_when_done() -> int:
            assert await worker.work([hint]) == []
            return len((await pipe.look("a")).versions)

        assert list(await asyncio.gather(intents_when_done(), intents_when_done())) == [1, 1]


async def test_what_killed_its_readers_is_counted_before_it_is_read_and_fails() -> None:
    async with pipelines.opened() as pipe:
        accepted = await pipe.put("a", "one two three")
        assert accepted.row is not None
        worker = pipe.workers[pipe.change_queue]
        hint = (await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0))[0].hint
        deadly = replace(hint, unanswered=queues.MAX_RECEIVES)
        died = 0

        def die(passages: Sequence[embedders.Passage]) -> None:
            nonlocal died
            died += 1
            raise TransientError(Reason.EMBEDDER_UNAVAILABLE, "killed")

        pipe.embedder.fault = die
        for _ in range(3 * queues.MAX_RECEIVES):
            await worker.work([deadly])
            pipe.clock.advance(60.0)

        row = (await pipe.look("a")).row
        assert (row.state, row.reason, died) == (State.FAILED, Reason.READER_CRASHED, 4)


async def test_an_edit_embeds_only_the_chunks_that_changed() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", LONG)
        await pipe.settle()
        embedded: list[str] = []
        pipe.embedder.fault = lambda passages: embedded.extend(passage.text for passage in passages)

        await pipe.put("a", LONG.replace("paragraph 6", "chapter 6"))
        await pipe.settle()

        assert 1 <= len(embedded) <= 3
        assert any("chapter 6" in text for text in embedded)


async def test_a_metadata_edit_wakes_no_embedder() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()

        accepted = await pipe.patch("a", title="A title")

        assert [step.lane for step in accepted.steps] == ["update"]
        await pipe.settle(only=["update"])
        assert (await pipe.look("a")).row.state is State.SEARCHABLE


async def test_a_document_without_text_becomes_a_version_of_no_chunks() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "<html><script>x</script></html>", media_type="text/html")

        await pipe.settle()

        look = await pipe.look("a")
        assert (look.row.state, look.row.reason, look.versions[0].n_chunks) == (State.SEARCHABLE, Reason.NO_TEXT, 0)


async def test_a_poison_text_fails_its_document_alone() -> None:
    def refuse(passages: Sequence[embedders.Passage]) -> None:
        if any("poison" in passage.text for passage in passages):
            raise PermanentError(Reason.EMBEDDING_FAILED, "cannot embed this")

    async with pipelines.opened() as pipe:
        pipe.embedder.fault = refuse
        await pipe.put("good", "one two three")
        await pipe.put("bad", "poison in here")

        await pipe.settle()

        assert (await pipe.look("good")).row.state is State.SEARCHABLE
        bad = (await pipe.look("bad")).row
        assert (bad.state, bad.reason) == (State.FAILED, Reason.EMBEDDING_FAILED)


async def test_what_may_be_the_documents_fault_is_counted_and_tried_again() -> None:
    def stumble(passages: Sequence[embedders.Passage]) -> None:
        raise RetryableError(Reason.EMBEDDING_FAILED, "not this time")

    async with pipelines.opened() as pipe:
        pipe.embedder.fault = stumble
        await pipe.put("a", "one two three")

        await pipe.settle()
        after_one = (await pipe.look("a")).row
        pipe.embedder.fault = None
        pipe.clock.advance(2.0)
        await pipe.settle()

        assert (after_one.attempts, after_one.state) == (1, State.PENDING)
        assert (await pipe.look("a")).row.state is State.SEARCHABLE


async def test_a_release_that_cannot_run_the_pipeline_leaves_the_document_waiting_with_its_reason() -> None:
    async with pipelines.opened(revisions=frozenset({"9.9"})) as pipe:
        await pipe.put("a", "one two three")

        await pipe.settle()

        row = (await pipe.look("a")).row
        assert (row.state, row.reason, row.attempts) == (State.PENDING, Reason.PIPELINE_UNAVAILABLE, 0)


async def test_a_hint_for_an_unknown_document_makes_no_row() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        (delivery,) = await pipe.store.queues.receive(pipe.change_queue, limit=1, visibility_seconds=1.0)
        stranger = delivery.hint.__class__(
            delivery.hint.tenant, delivery.hint.collection_uid, identity.DocumentId("z"), 9
        )

        assert await pipe.workers[pipe.change_queue].work([stranger]) == []

        uid = (await pipe.collection()).uid
        assert await pipe.ledger.rows([stranger.key]) == [None]
        assert uid == stranger.collection_uid
