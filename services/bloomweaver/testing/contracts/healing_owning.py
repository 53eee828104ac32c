"""What `ports.healing` promises to the sweep and the audit, as tests (R13)."""

from bloomweaver.domain import identity
from bloomweaver.domain.identity import BuildId
from bloomweaver.ports import healing as ports
from bloomweaver.testing.contracts import world


class Owning:
    """R13: what the sweep asks."""

    async def owned(self, w: world.World, seq: int, *, document: str = world.DOCUMENT) -> ports.Owned:
        name = (identity.document_key(document), seq, world.A.pipe[:8])
        (owned,) = await w.healing.owners(w.collection.uid, [name])
        return owned

    async def test_vectors_of_what_is_built_or_shown_belong_to_it(self, w: world.World) -> None:
        one = await w.shown("one")
        two = await w.put("two")
        await w.intend(two)
        versions = await w.versions()
        assert await self.owned(w, one) == ports.Owned(versions[one, world.A.pipe], due=False)
        assert await self.owned(w, two) == ports.Owned(versions[two, world.A.pipe], due=False)

    async def test_dead_vectors_may_go_after_their_grace(self, w: world.World) -> None:
        one = await w.shown("one")
        await w.index(await w.put("two"))
        assert not (await self.owned(w, one)).due
        w.time.advance(60)
        assert (await self.owned(w, one)).due
        await w.remove_all()
        assert (await self.owned(w, one)).due

    async def test_vectors_that_nobody_knows_may_go(self, w: world.World) -> None:
        seq = await w.shown()
        assert await self.owned(w, seq + 1) == ports.Owned(None, due=True)
        assert await self.owned(w, seq, document="another") == ports.Owned(None, due=True)

    async def test_blobs_of_revisions_and_standing_builds_are_owned(self, w: world.World) -> None:
        seq = await w.put("text", blob="raw/1")
        await w.intend(seq)
        deployment = await w.database.registry.deployment()
        build = (await w.versions())[seq, world.A.pipe].build
        known = identity.build_blob_key(deployment, w.collection.uid, pipe=world.A.pipe, build=build)
        stray = identity.build_blob_key(deployment, w.collection.uid, pipe=world.A.pipe, build=BuildId("stray"))
        asked = ["raw/1", "raw/2", known, stray]
        assert await w.healing.owned_blobs(w.collection.uid, asked) == {"raw/1", known}
        await w.delete()
        await w.remove_all()
        assert known not in await w.healing.owned_blobs(w.collection.uid, asked)

    async def test_versions_are_paged_by_whole_documents(self, w: world.World) -> None:
        for document in ("a", "b", "c"):
            await w.index(await w.put("one", document), document)
            await w.index(await w.put("two", document), document)
        await w.put("nothing built", "aa")
        found: list[str] = []
        after = ""
        while page := await w.healing.versions(w.collection.uid, after=after, limit=1):
            found += [v.key.document_id for v in page]
            after = page[-1].key.document_id
        assert found == ["a", "a", "b", "b", "c", "c"]

    async def test_what_can_never_be_shown_is_buried_after_a_sweep_even_if_nothing_else_noticed(
        self, s: world.World
    ) -> None:
        seq = await s.put("text", version=5)
        await s.index(seq)
        await s.healing.swept(s.collection.uid, began_at=s.time.now())
        assert await s.healing.bury(limit=10) == 0
        assert (await s.states())[seq] == "live"
