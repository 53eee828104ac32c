"""Writing: confirmed before it is shown, shown before the old goes, and removed only where nothing can need it."""

from dataclasses import replace

from bloomweaver.domain import identity
from bloomweaver.domain.documents import State, VersionState
from bloomweaver.domain.events import Hint
from bloomweaver.ports import vectors
from tests.support import pipelines


async def test_what_was_written_is_found_and_dated() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        pipe.clock.advance(3.0)

        await pipe.settle()

        assert await pipe.find("one two three") == ["a"]
        assert pipe.flips == [("default", 3.0)]


async def test_the_old_version_is_shown_whole_until_the_new_one_is() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "old text")
        await pipe.settle()

        await pipe.put("a", "new text")
        before = (await pipe.look("a")).row
        await pipe.settle()

        assert (before.state, before.live != 0) == (State.UPDATING, True)
        assert (await pipe.look("a")).row.state is State.SEARCHABLE


async def test_superseded_vectors_go_a_minute_after_the_flip_and_are_gone_after_ten() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "old text")
        await pipe.settle()
        await pipe.put("a", "new text")
        await pipe.settle()
        old = (await pipe.look("a")).versions[0]
        old_ids = set(identity.vector_ids("a", old.seq, old.pipe, old.n_chunks))

        await pipe.reconciler.round()
        await pipe.settle()
        at_once = await pipe.stored_ids()
        pipe.clock.advance(61.0)
        await pipe.reconciler.round()
        await pipe.settle()
        after_a_minute = await pipe.stored_ids()
        pipe.clock.advance(600.0)
        await pipe.reconciler.round()
        await pipe.settle()

        assert old_ids <= at_once
        assert not old_ids & after_a_minute
        assert all(v.state is not VersionState.DEAD for v in (await pipe.look("a")).versions)


async def test_a_deleted_document_leaves_no_vectors() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()

        await pipe.delete("a")
        shown = await pipe.find("one two three")
        await pipe.settle(only=["delete"])

        assert shown == []
        assert await pipe.stored_ids() == set()


async def test_a_store_that_lags_holds_the_flip_and_counts_nothing() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle(only=[pipe.change_queue])
        pipe.workers["create"]._vectors = _Lagging(pipe.store.vectors)  # type: ignore[attr-defined]  # the lag is the test

        await pipe.work("create")

        row = (await pipe.look("a")).row
        assert (row.live, row.attempts, row.reason) == (0, 0, "waiting_for_store")


async def test_vectors_that_land_after_their_version_is_gone_are_removed_on_sight() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        (version,) = (await pipe.look("a")).versions
        await pipe.delete("a")
        await pipe.settle()
        pipe.clock.advance(601.0)
        await pipe.reconciler.round()
        await pipe.settle()
        await pipe.upsert_stray(version.key.collection_uid, "a", version.seq, version.pipe)

        await pipe.find("one two three")
        await pipe.settle(only=["delete"])

        assert await pipe.stored_ids() == set()


async def test_strays_of_a_version_that_is_being_built_are_left_alone() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        (version,) = (await pipe.look("a")).versions
        hint = Hint(pipelines.TENANT, version.key.collection_uid, version.key.document_id, version.seq, version.pipe)

        await pipe.workers["delete"].work([hint])

        assert len(await pipe.stored_ids()) == version.n_chunks


class _Lagging:
    """A store whose readers have seen nothing yet."""

    def __init__(self, store: vectors.Vectors) -> None:
        self._store = store
        self.capabilities = store.capabilities

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def query(self, namespace: str, vector: vectors.Vector, *, k: int) -> vectors.Matches:
        return replace(await self._store.query(namespace, vector, k=k), position=-1)
