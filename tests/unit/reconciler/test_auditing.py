"""The audit says what is true, and mends what can be mended."""

from bloomweaver.domain import identity
from bloomweaver.reconciler import auditing
from tests.support import pipelines


async def test_a_settled_store_is_clean() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.put("b", "four five six")
        await pipe.settle()

        found = await _auditor(pipe).audit(repair=False)

        assert found.clean
        assert (found.documents, found.vectors, found.pending) == (2, 2, 0)


async def test_a_lost_vector_is_reported_and_written_again_without_embedding() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        namespace = await _namespace(pipe)
        await pipe.store.vectors.delete(namespace, sorted(await pipe.stored_ids()))
        embedded: list[int] = []
        pipe.embedder.fault = lambda passages: embedded.append(len(passages))

        found = await _auditor(pipe).audit(repair=True)

        assert (found.lost, found.repaired, embedded) == (1, 1, [])
        pipe.embedder.fault = None
        assert await pipe.find("one two three") == ["a"]


async def test_a_vector_that_no_document_owns_is_reported_and_removed() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        look = await pipe.look("a")
        await pipe.upsert_stray(look.row.key.collection_uid, "ghost", 5, look.versions[0].pipe)

        reported = await _auditor(pipe).audit(repair=False)
        repaired = await _auditor(pipe).audit(repair=True)

        assert (reported.extra, reported.removed) == (1, 0)
        assert repaired.removed == 1
        assert (await _auditor(pipe).audit(repair=False)).clean


async def test_superseded_vectors_that_are_about_to_go_are_no_finding() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "old text")
        await pipe.settle()
        await pipe.put("a", "new text")
        await pipe.settle()
        pipe.clock.advance(3600.0)

        found = await _auditor(pipe).audit(repair=False)

        assert len(await pipe.stored_ids()) == 2
        assert found.clean


async def test_a_lost_build_is_named() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()
        (version,) = (await pipe.look("a")).versions
        uid = version.key.collection_uid
        key = identity.build_blob_key(pipe.deployment, uid, pipe=version.pipe, build=version.build)
        await pipe.store.blobs.delete([key])

        found = await _auditor(pipe).audit(repair=False)

        assert found.builds_lost == 1
        assert not found.clean
        assert "default/a" in found.examples[0]


async def test_another_tenants_documents_are_not_looked_at() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        await pipe.settle()

        found = await _auditor(pipe).audit(repair=False, tenant=identity.TenantId("other"))

        assert found.documents == 0


def _auditor(pipe: pipelines.Pipeline) -> auditing.Auditor:
    return auditing.Auditor(
        ledger=pipe.ledger,
        healing=pipe.store.database.healing,
        registry=pipe.store.database.registry,
        blobs=pipe.store.blobs,
        vectors=pipe.store.vectors,
        sweeper=pipe.reconciler.sweeper,
        deployment=pipe.deployment,
    )


async def _namespace(pipe: pipelines.Pipeline) -> str:
    (namespace,) = await pipe.store.vectors.namespaces("")
    return namespace
