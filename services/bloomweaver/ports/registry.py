"""The registry: tenants, collections, generations, keys and sources. Same database and guarantees as the ledger.

A generation changes only by compare-and-set on its epoch, so two operators cannot both win (R15).
"""

from dataclasses import dataclass
from typing import Protocol

from bloomweaver.domain.documents import Collection, DocumentKey, Generation, Ordering, Pipeline
from bloomweaver.domain.identity import CollectionUid, Pipe, TenantId


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as stored: never its secret. `hash` is SHA-256 of the whole secret; filter_json a canonical filter."""

    id: str
    tenant: TenantId
    name: str
    hash: str
    verbs: frozenset[str]
    collections: tuple[str, ...]
    created_at: float
    expires_at: float | None = None
    filter_json: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A signed source. secrets: sealed by the deployment's key, the newest first, two during a rotation.

    ingest_id: the random part of its URL.
    """

    tenant: TenantId
    name: str
    ingest_id: str
    collection: str
    tolerance_seconds: int
    secrets: tuple[bytes, ...]
    filter_json: str | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """How far a building pipeline is, counted. laggards: some live documents that are not ready there."""

    total: int
    ready: int
    failed: int
    laggards: tuple[DocumentKey, ...]

    @property
    def open(self) -> bool:
        """Whether promotion needs no force."""
        return self.total == self.ready


@dataclass(frozen=True, slots=True)
class Moved:
    """A generation after a compare-and-set; None in `generation` where another was first or the gate is shut."""

    generation: Generation | None
    gate: Gate | None = None


class Registry(Protocol):
    """See the module's docstring."""

    async def deployment(self) -> str:
        """A random name of this deployment, made with the database."""
        ...

    async def restored(self) -> None:
        """After a restore: sequence numbers go on above all that were ever given, and everything is checked."""
        ...

    async def tenants(self) -> list[TenantId]:
        """All tenants."""
        ...

    async def ensure_tenant(self, tenant: TenantId, *, pipeline: Pipeline) -> None:
        """Make the tenant and its collection `default`, if they are not there."""
        ...

    async def create_collection(
        self, tenant: TenantId, name: str, *, ordering: Ordering, description: str, pipeline: Pipeline
    ) -> tuple[Collection, bool]:
        """The collection of that name, and whether this call made it."""
        ...

    async def describe_collection(self, uid: CollectionUid, *, description: str) -> None:
        """Change the description."""
        ...

    async def collection(self, tenant: TenantId, name: str) -> Collection | None:
        """By name; a deleted one is not found."""
        ...

    async def collections(self, tenant: TenantId | None = None) -> list[Collection]:
        """All, by tenant and name."""
        ...

    async def delete_collection(self, uid: CollectionUid) -> None:
        """The name is free at once; see Healing.retired for the rest."""
        ...

    async def generation(self, uid: CollectionUid) -> Generation | None:
        """Which pipelines the collection is kept in."""
        ...

    async def build(self, uid: CollectionUid, *, epoch: int, pipeline: Pipeline | None) -> Moved:
        """Begin building another pipeline beside the active one, instead of one being built; None cancels."""
        ...

    async def gate(self, uid: CollectionUid, *, pipe: Pipe) -> Gate:
        """Count how far a pipeline is."""
        ...

    async def promote(self, uid: CollectionUid, *, epoch: int, force: bool, soak_seconds: float) -> Moved:
        """In one transaction: with an open gate (or force) the building pipeline is active, the active one previous."""
        ...

    async def roll_back(self, uid: CollectionUid, *, epoch: int, force: bool) -> Moved:
        """The previous pipeline becomes active again, the active one is dropped; same gate."""
        ...

    async def end_soak(self, uid: CollectionUid, *, epoch: int) -> Moved:
        """The previous pipeline is dropped."""
        ...

    async def add_key(self, key: StoredKey) -> None: ...
    async def key(self, key_id: str) -> StoredKey | None: ...
    async def keys(self, tenant: TenantId) -> list[StoredKey]: ...

    async def revoke_key(self, tenant: TenantId, key_id: str) -> bool:
        """False if there is none. The last admin key stays: Refusal(LAST_ADMIN_KEY)."""
        ...

    async def put_source(self, source: Source) -> Source:
        """Insert or replace by (tenant, name); ingest_id stays what it was first."""
        ...

    async def source(self, tenant: TenantId, name: str) -> Source | None: ...
    async def source_by_ingest_id(self, ingest_id: str) -> Source | None: ...
