"""The audit proves the promise: what the ledger shows is in the store, whole, and nothing else is (I7, I8).

It reads everything and changes nothing, unless asked to repair: then lost vectors are written again from their builds,
without embedding, and strays are removed. A version whose build is lost too can only be built again from its revision;
the audit names it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bloomweaver.domain import builds, identity
from bloomweaver.domain.documents import Collection, DocumentKey, Generation, Row, Version, VersionState
from bloomweaver.domain.errors import RetryableError
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.ports import blobs, healing, ledger, registry, vectors
from bloomweaver.reconciler import sweeping

PAGE = 200
EXAMPLES = 20


@dataclass(slots=True)
class Audited:
    """What an audit found. documents: rows looked at. lost, extra and resurrected count vectors, the others documents.

    resurrected: extra vectors of deleted documents. pending: documents that are not settled yet, hence not judged.
    """

    documents: int = 0
    vectors: int = 0
    lost: int = 0
    extra: int = 0
    resurrected: int = 0
    builds_lost: int = 0
    texts_lost: int = 0
    pending: int = 0
    repaired: int = 0
    removed: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether store and ledger agree."""
        return not (self.lost or self.extra or self.builds_lost or self.texts_lost)

    def example(self, text: str) -> None:
        """Remember a few cases for the person who reads the report."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)


class Auditor:
    """One pass over everything that this deployment owns."""

    def __init__(
        self,
        *,
        ledger: ledger.Ledger,
        healing: healing.Healing,
        registry: registry.Registry,
        blobs: blobs.Blobs,
        vectors: vectors.Vectors,
        sweeper: sweeping.Sweeper,
        deployment: str,
    ) -> None:
        self._ledger = ledger
        self._healing = healing
        self._registry = registry
        self._blobs = blobs
        self._vectors = vectors
        self._sweeper = sweeper
        self._deployment = deployment

    async def audit(self, *, repair: bool, tenant: identity.TenantId | None = None) -> Audited:
        """Compare all, or what is one tenant's; with `repair`, mend what can be mended."""
        result = Audited()
        everyone = await self._registry.collections()
        for collection in everyone:
            generation = await self._registry.generation(collection.uid)
            if generation is not None and tenant in (None, collection.tenant):
                await self._audit_collection(collection, generation, result, repair=repair)
        others = {collection.uid for collection in everyone if tenant not in (None, collection.tenant)}
        await self._audit_strays(others, result, repair=repair)
        return result

    async def _audit_collection(
        self, collection: Collection, generation: Generation, result: Audited, *, repair: bool
    ) -> None:
        async for page in self._documents(collection.uid):
            keys = list(dict.fromkeys(version.key for version in page))
            looks = {look.row.key: look for look in await self._ledger.look(keys) if look is not None}
            result.documents += len(looks)
            shown: list[Version] = []
            for look in looks.values():
                result.pending += look.row.live != look.row.seq and not look.row.tomb
                shown.extend(v for v in look.versions if _must_be_there(v, look.row, generation))
                await self._audit_text(collection, look, result)
            await self._audit_vectors(collection, looks, shown, result, repair=repair)

    async def _documents(self, uid: CollectionUid) -> AsyncIterator[list[Version]]:
        after = ""
        while page := await self._healing.versions(uid, after=after, limit=PAGE):
            yield page
            after = max((version.key.document_id for version in page), key=str.encode)

    async def _audit_text(self, collection: Collection, look: ledger.Look, result: Audited) -> None:
        revision = look.revision(look.row.live) if look.row.live else None
        if revision is None or revision.content is None or revision.content.blob is None:
            return
        try:
            await self._blobs.get(revision.content.blob)
        except RetryableError:
            result.texts_lost += 1
            result.example(f"{collection.name}/{look.row.key.document_id}: the text of seq {look.row.live} is lost")

    async def _audit_vectors(
        self,
        collection: Collection,
        looks: dict[DocumentKey, ledger.Look],
        shown: list[Version],
        result: Audited,
        *,
        repair: bool,
    ) -> None:
        size = self._vectors.capabilities.max_batch
        for version in shown:
            ids = identity.vector_ids(version.key.document_id, version.seq, version.pipe, version.n_chunks)
            namespace = identity.namespace_of(self._deployment, collection.uid, version.pipe)
            there: set[str] = set()
            for start in range(0, len(ids), size):
                there |= await self._vectors.present(namespace, ids[start : start + size])
            missing = [index for index, vector_id in enumerate(ids) if vector_id not in there]
            result.vectors += len(ids)
            build = await self._build(collection, version, result) if version.n_chunks else None
            if missing:
                result.lost += len(missing)
                result.example(f"{collection.name}/{version.key.document_id}: {len(missing)} vectors are lost")
                if repair and build is not None:
                    await self._refill(namespace, version, looks[version.key], build, missing, result)

    async def _build(self, collection: Collection, version: Version, result: Audited) -> builds.Build | None:
        key = identity.build_blob_key(self._deployment, collection.uid, pipe=version.pipe, build=version.build)
        try:
            return builds.decode(await self._blobs.get(key))
        except RetryableError:
            result.builds_lost += 1
            result.example(f"{collection.name}/{version.key.document_id}: the build of seq {version.seq} is lost")
            return None

    async def _refill(
        self,
        namespace: str,
        version: Version,
        look: ledger.Look,
        build: builds.Build,
        missing: list[int],
        result: Audited,
    ) -> None:
        revision = look.revision(version.seq)
        if revision is None:
            return
        records = vectors.records_of(version, build, metadata=revision.meta.metadata, indexes=missing)
        size = self._vectors.capabilities.max_batch
        for start in range(0, len(records), size):
            await self._vectors.upsert(namespace, records[start : start + size])
        result.repaired += len(records)

    async def _audit_strays(self, others: set[CollectionUid], result: Audited, *, repair: bool) -> None:
        for namespace, ids in (await self._sweeper.strays(sweeping.Swept(), dying=False)).items():
            named = identity.parse_namespace(namespace)
            if named is None or named[1] in others:
                continue
            result.extra += len(ids)
            result.resurrected += await self._count_resurrected(namespace, ids)
            result.example(f"{namespace}: {len(ids)} vectors that no document owns")
            if repair:
                await self._sweeper.remove(namespace, ids)
                result.removed += len(ids)

    async def _count_resurrected(self, namespace: str, ids: list[str]) -> int:
        """Vectors whose version the ledger buried long ago: an erased text would be searchable but for the filter."""
        named = identity.parse_namespace(namespace)
        names = [name for name in map(identity.parse_vector_id, ids) if name is not None]
        if named is None or not names:
            return 0
        keys = [(name.document_key, name.seq, name.pipe8) for name in names]
        owned = await self._healing.owners(named[1], keys)
        return sum(owner.version is not None and owner.version.state is VersionState.GONE for owner in owned)


def _must_be_there(version: Version, row: Row, generation: Generation) -> bool:
    """Whether search relies on the version's vectors: what is live, in every pipeline that is current."""
    return (
        row.live == version.seq
        and not row.tomb
        and generation.pipeline(version.pipe) is not None
        and version.state is VersionState.LIVE
    )
