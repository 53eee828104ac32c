"""The sweep compares the vector store and the blobs with the ledger, whole, and removes what nobody owns (R13, R16).

Only what the ledger calls gone, absent, or dead past grace is removed; an id is looked up after it was listed, and
since an intent stands before its first vector is written, what is being written is always known. Above a bound the
sweep refuses (`sweep_refused`): a ledger restored from yesterday must not empty a store that is right.
"""

from dataclasses import dataclass

from bloomweaver.domain import identity
from bloomweaver.domain.documents import VersionState
from bloomweaver.domain.errors import PermanentError
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs, healing, registry, vectors

ALWAYS_ALLOWED = 1000
ALLOWED_SHARE = 0.05
ORPHAN_BLOB_SECONDS = 86_400.0
PAGE = 1000


@dataclass(slots=True)
class Swept:
    """What a sweep saw and removed, in vectors, namespaces and blobs."""

    seen: int = 0
    removed: int = 0
    namespaces: int = 0
    blobs: int = 0


class Sweeper:
    """One pass over everything that this deployment owns."""

    def __init__(
        self,
        *,
        healing: healing.Healing,
        registry: registry.Registry,
        blobs: blobs.Blobs,
        vectors: vectors.Vectors,
        deployment: str,
        orphan_blob_seconds: float = ORPHAN_BLOB_SECONDS,
    ) -> None:
        self._healing = healing
        self._registry = registry
        self._blobs = blobs
        self._vectors = vectors
        self._deployment = deployment
        self._orphan_blob_seconds = orphan_blob_seconds

    async def sweep(self, *, force: bool) -> Swept:
        """Look first, then remove.

        PermanentError(SWEEP_REFUSED) above max(1,000, 5 %) of what was seen, unless forced.
        """
        began_at = await self._healing.now()
        result = Swept()
        doomed = await self.strays(result)
        count = sum(len(ids) for ids in doomed.values())
        if not force and count > max(ALWAYS_ALLOWED, result.seen * ALLOWED_SHARE):
            detail = f"The sweep would remove {count} of {result.seen} vectors. Look at why, then run it with --force."
            raise PermanentError(Reason.SWEEP_REFUSED, detail)
        for namespace, ids in doomed.items():
            await self.remove(namespace, ids)
            result.removed += len(ids)
        for collection in await self._registry.collections():
            await self._sweep_blobs(collection.uid, result)
            await self._healing.swept(collection.uid, began_at=began_at)
        return result

    async def strays(self, result: Swept, *, dying: bool = True) -> dict[str, list[str]]:
        """Ids that may go, by namespace; nothing is removed but empty namespaces of pipelines that are over.

        dying: with those of dead versions, which the reconciler is about to remove anyway.
        """
        if not self._vectors.capabilities.list_ids:
            return {}
        # Namespaces first: a collection is made before its first namespace, so one that is listed is known afterwards.
        namespaces = await self._vectors.namespaces(f"{self._deployment}.")
        uids = {collection.uid for collection in await self._registry.collections()}
        return await self._doomed(namespaces, uids, result, dying=dying)

    async def _doomed(
        self, namespaces: list[str], uids: set[CollectionUid], result: Swept, *, dying: bool
    ) -> dict[str, list[str]]:
        doomed: dict[str, list[str]] = {}
        for namespace in namespaces:
            named = identity.parse_namespace(namespace)
            if named is None:
                continue
            _, uid, pipe = named
            async for page in self._vectors.ids(namespace):
                result.seen += len(page)
                strays = page if uid not in uids else await self._strays(uid, page, dying=dying)
                if strays:
                    doomed.setdefault(namespace, []).extend(strays)
            if uid in uids:
                await self._drop_if_over(namespace, uid, pipe, result)
        return doomed

    async def _strays(self, uid: CollectionUid, page: list[str], *, dying: bool) -> list[str]:
        names = {vector_id: identity.parse_vector_id(vector_id) for vector_id in page}
        known = [(n.document_key, n.seq, n.pipe8) for n in names.values() if n is not None]
        distinct = list(dict.fromkeys(known))
        owned = dict(zip(distinct, await self._healing.owners(uid, distinct), strict=True))
        strays = []
        for vector_id, name in names.items():
            if name is None:
                continue  # not one of ours: somebody else's business
            owner = owned[name.document_key, name.seq, name.pipe8]
            if owner.version is not None and owner.version.state is VersionState.DEAD and not dying:
                continue
            if owner.due or (owner.version is not None and name.index >= owner.version.n_chunks):
                strays.append(vector_id)
        return strays

    async def _drop_if_over(self, namespace: str, uid: CollectionUid, pipe: str, result: Swept) -> None:
        """An empty namespace of a pipeline that the generation no longer names; its name is never used again."""
        generation = await self._registry.generation(uid)
        if generation is None or generation.pipeline(pipe) is not None:
            return
        async for page in self._vectors.ids(namespace):
            if page:
                return
        await self._vectors.drop(namespace)
        result.namespaces += 1

    async def remove(self, namespace: str, ids: list[str]) -> None:
        """Delete vectors in batches that the store takes."""
        size = self._vectors.capabilities.max_batch
        for start in range(0, len(ids), size):
            await self._vectors.delete(namespace, ids[start : start + size])

    async def _sweep_blobs(self, uid: CollectionUid, result: Swept) -> None:
        """Blobs that a crash left between storing them and recording who owns them."""
        listing = self._blobs.list(identity.blob_prefix(self._deployment, uid))
        old = [blob.key async for blob in listing if blob.age_seconds >= self._orphan_blob_seconds]
        for start in range(0, len(old), PAGE):
            page = old[start : start + PAGE]
            owned = await self._healing.owned_blobs(uid, page)
            orphans = [key for key in page if key not in owned]
            await self._blobs.delete(orphans)
            result.blobs += len(orphans)
