"""What `ports.ledger` promises to searches and to people who ask, as tests (R10, R11)."""

from bloomweaver.domain.documents import DocumentKey, State
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger as ports
from bloomweaver.testing.contracts import world


class Searching:
    """Snapshots, visibility, texts of hits, lists and counts."""

    async def moved(self, w: world.World, snapshot: ports.Snapshot, document: str = world.DOCUMENT) -> bool:
        return (await w.ledger.visible(w.collection.uid, [document], snapshot=snapshot)).moved

    async def test_a_snapshot_tells_generations_and_confirmed_positions(self, w: world.World) -> None:
        for position, document in ((5, "one"), (9, "two"), (7, "three")):
            seq = await w.put("text", document)
            await w.intend(seq, document)
            await w.settle(seq, document, position=position)
        snapshot = await w.ledger.snapshot([w.collection.uid, CollectionUid("gone")])
        assert snapshot.positions == {w.collection.uid: 9}
        assert {uid: g.active for uid, g in snapshot.generations.items()} == {w.collection.uid: world.A}

    async def test_candidates_are_answered_by_their_rows(self, w: world.World) -> None:
        await w.shown()
        snapshot = await w.ledger.snapshot([w.collection.uid])
        names = [world.DOCUMENT, "unknown"]
        seen = await w.ledger.visible(w.collection.uid, names, snapshot=snapshot)
        assert (seen.rows, seen.moved) == ({world.DOCUMENT: await w.row()}, False)

    async def test_a_flip_since_the_snapshot_is_noticed(self, w: world.World) -> None:
        await w.shown("one")
        before = await w.ledger.snapshot([w.collection.uid])
        await w.index(await w.put("two"))
        assert await self.moved(w, before)
        assert not await self.moved(w, await w.ledger.snapshot([w.collection.uid]))

    async def test_a_delete_since_the_snapshot_is_noticed(self, w: world.World) -> None:
        await w.shown()
        before = await w.ledger.snapshot([w.collection.uid])
        await w.delete()
        assert await self.moved(w, before)

    async def test_an_unflip_since_the_snapshot_is_noticed(self, s: world.World) -> None:
        await s.index(await s.put("old", version=5))
        await s.put("new", version=9)
        before = await s.ledger.snapshot([s.collection.uid])
        await s.delete(version=7)
        assert await self.moved(s, before)

    async def test_what_changes_nothing_that_is_shown_does_not_disturb_a_search(self, w: world.World) -> None:
        seq = await w.shown("one")
        await w.shown("other", "other")
        before = await w.ledger.snapshot([w.collection.uid])
        await w.intend(await w.put("two"))
        await w.settle(seq)
        await w.index(await w.put("more", "other"), "other")
        assert not await self.moved(w, before)

    async def test_a_change_of_generation_since_the_snapshot_is_noticed(self, w: world.World) -> None:
        await w.shown()
        before = await w.ledger.snapshot([w.collection.uid])
        await w.build()
        assert await self.moved(w, before)

    async def test_a_deleted_collection_has_no_candidates(self, w: world.World) -> None:
        await w.shown()
        before = await w.ledger.snapshot([w.collection.uid])
        await w.database.registry.delete_collection(w.collection.uid)
        seen = await w.ledger.visible(w.collection.uid, [world.DOCUMENT], snapshot=before)
        assert (seen.rows, seen.moved) == ({}, True)
        assert (await w.ledger.snapshot([w.collection.uid])).generations == {}
        assert await w.ledger.look([w.key()]) == [None]
        assert await w.ledger.rows([w.key()]) == [None]

    async def test_hits_come_with_their_text_and_their_revision(self, w: world.World) -> None:
        seq = await w.shown()
        refs = [ports.ChunkRef(w.key(), seq, world.A.pipe, index) for index in (1, 0, 7)]
        found = await w.ledger.shown([*refs, ports.ChunkRef(w.key("unknown"), seq, world.A.pipe, 0)])
        texts = [hit and hit.chunk for hit in found]
        assert texts == [world.chunks(2)[1], world.chunks(2)[0], None, None]
        hit = found[0]
        assert hit is not None
        assert (hit.ref, hit.revision.seq, hit.revision.meta.title) == (refs[0], seq, "T")

    async def test_chunks_of_a_version_come_in_order(self, w: world.World) -> None:
        seq = await w.put()
        await w.intend(seq, count=12)
        assert await w.ledger.chunks(w.key(), seq=seq, pipe=world.A.pipe) == list(world.chunks(12))
        assert await w.ledger.chunks(w.key(), seq=seq, pipe=world.B.pipe) == []

    async def test_documents_are_listed_by_id_with_what_was_sent(self, w: world.World) -> None:
        names = ["b/1", "a", "ä", "b/2", "Z"]
        for name in names:
            await w.put(f"text of {name}", name)
        await w.delete("b/2")
        kept = sorted((n for n in names if n != "b/2"), key=str.encode)
        listed = await w.ledger.documents(ports.Listing(w.collection.uid))
        assert [row.key.document_id for row, _ in listed] == kept
        assert [sent.content for _, sent in listed] == [world.content(f"text of {name}") for name in kept]
        paged = await w.ledger.documents(ports.Listing(w.collection.uid, after="a", limit=1))
        assert [row.key.document_id for row, _ in paged] == ["b/1"]

    async def test_a_list_can_be_narrowed(self, w: world.World) -> None:
        await w.shown("one", "a/1")
        w.time.advance(10)
        await w.put("two", "a/2")
        await w.put("three", "b/1")
        await w.delete("b/1")
        uid = w.collection.uid

        async def names(listing: ports.Listing) -> list[str]:
            return [row.key.document_id for row, _ in await w.ledger.documents(listing)]

        assert await names(ports.Listing(uid, state=State.SEARCHABLE)) == ["a/1"]
        assert await names(ports.Listing(uid, state=State.DELETED)) == ["b/1"]
        assert await names(ports.Listing(uid, state=State.FAILED)) == []
        assert await names(ports.Listing(uid, prefix="a/")) == ["a/1", "a/2"]
        assert await names(ports.Listing(uid, since=w.time.now())) == ["a/2"]
        assert await names(ports.Listing(uid, origin="upload")) == []
        assert await names(ports.Listing(CollectionUid("gone"))) == []

    async def test_documents_are_counted_by_state(self, w: world.World) -> None:
        await w.shown("one", "a")
        await w.put("two", "b")
        await w.intend(await w.put("three", "c"), "c")
        await w.put("four", "d")
        await w.delete("d")
        counted = await w.ledger.counts(world.TENANT)
        expected = {State.SEARCHABLE: 1, State.PENDING: 1, State.INDEXING: 1, State.DELETED: 1}
        assert {state: n for state, n in counted.items() if n} == expected
        assert await w.ledger.counts(world.TENANT, w.collection.uid) == counted
        assert sum((await w.ledger.counts(TenantId("other"))).values()) == 0

    async def test_the_oldest_change_that_waits_is_told(self, w: world.World) -> None:
        assert await w.ledger.oldest_pending(world.TENANT) is None
        await w.shown("one", "a")
        w.time.advance(10)
        first = w.time.now()
        seq = await w.put("two", "a")
        w.time.advance(10)
        await w.put("three", "b")
        assert await w.ledger.oldest_pending(world.TENANT, w.collection.uid) == first
        failure = ports.Failure(w.key("a"), seq, world.A.pipe, Reason.UNPARSABLE, "", permanent=True)
        await w.ledger.fail(failure)
        assert await w.ledger.oldest_pending(world.TENANT) == w.time.now()

    async def test_a_batch_is_told_by_what_its_documents_are_now(self, w: world.World) -> None:
        for document in ("a", "b", "b"):
            await w.accept(w.change(f"text {w.events}", document, batch_id="batch"))
        await w.index((await w.row("a")).seq, "a")
        counted = await w.ledger.batch_counts(world.TENANT, "batch")
        assert {state: n for state, n in counted.items() if n} == {State.SEARCHABLE: 1, State.PENDING: 1}
        assert sum((await w.ledger.batch_counts(TenantId("other"), "batch")).values()) == 0

    async def test_names_are_taken_literally(self, w: world.World) -> None:
        names = ["a'b", 'a"b', "a%b", "a_b", "../a".replace("..", ".x"), "a\\b", "😀", " a "]
        for name in names:
            await w.put("text", name)
        rows = await w.ledger.rows([DocumentKey(w.collection.uid, DocumentId(name)) for name in names])
        assert [row and row.key.document_id for row in rows] == names
        listed = await w.ledger.documents(ports.Listing(w.collection.uid, prefix="a_"))
        assert [row.key.document_id for row, _ in listed] == ["a_b"]
