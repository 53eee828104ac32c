"""Where everything stands in the one table: the keys of every item, and of its four sparse indexes.

The primary key is (pk, sk). Rows of a collection are spread over SHARDS partitions by the document's hash and sorted in
each by document id, so that lists come in order from consistent reads, and no collection is one hot partition.

Invariant: a name that a client chooses is either alone at the end of a key or hashed, so that no two owners share one.
"""

import hashlib
from typing import Final, TypeAlias

from bloomweaver.domain import identity
from bloomweaver.domain.documents import DocumentKey

Key: TypeAlias = tuple[str, str]

SHARDS: Final = 16
"""Partitions of a collection's rows, and its flip counters (R11)."""

DUE_SHARDS: Final = 4
"""Partitions of what is due, in each index."""

STEPS_KEPT: Final = 50
TALLIES: Final = 256
"""Counters of a collection. Each write takes one that no other write in its process uses."""

DUE: Final = "due"
REMOVALS: Final = "removals"
LITTER: Final = "litter"
PENDING: Final = "pending"
INDEXES: Final = {
    DUE: ("due_in", "due_at"),
    REMOVALS: ("remove_in", "remove_at"),
    LITTER: ("litter_in", "litter_at"),
    PENDING: ("pending_in", "accepted_at"),
}
"""Index: its keys. An item without them is not in it."""

DEPLOYMENT: Final[Key] = ("deployment", "deployment")
SCHEMA: Final[Key] = ("deployment", "schema")
TENANTS: Final = "tenants"
COLLECTIONS: Final = "collections"
SCANS: Final = "scans"
RETIRED: Final = "retired"
SPACES: Final = "spaces"

REVISION: Final = "rev#"
STEP: Final = "step#"
GATE: Final = "gate#"
PIPE: Final = "pipe#"
NAME: Final = "name#"
API_KEY: Final = "key#"


def shard_of(document_id: str) -> int:
    """By the first digit of the `doc16` part of vector ids."""
    return int(identity.document_key(document_id)[0], 16)


def doc16(key: DocumentKey) -> str:
    """The `doc16` part of the document's vector ids."""
    return identity.document_key(key.document_id)


def rows(uid: str, shard: int) -> str:
    """A partition of a collection's rows."""
    return f"rows#{uid}#{shard:x}"


def row(key: DocumentKey) -> Key:
    """A document: its row, versions, builds and due times in one item, so that one read is one moment."""
    return rows(key.collection_uid, shard_of(key.document_id)), key.document_id


def parse_row(pk: str) -> str:
    """The collection's uid of a row's partition."""
    return pk.split("#")[1]


def document(key: DocumentKey) -> str:
    """The partition of what belongs to a document and is not in its row: revisions, chunks, steps."""
    return f"doc#{key.collection_uid}#{key.document_id}"


def revision(key: DocumentKey, seq: int) -> Key:
    """What was sent under a seq, text included."""
    return document(key), f"{REVISION}{seq:016d}"


def step(key: DocumentKey, number: int) -> Key:
    """The timeline is a ring: a step takes the place of the one that is fifty older."""
    return document(key), f"{STEP}{number % STEPS_KEPT:02d}"


def chunks(pipe: str, build: str) -> str:
    """What the sort keys of a build's chunks begin with."""
    return f"chunk#{pipe}#{build}#"


def chunk(key: DocumentKey, pipe: str, build: str, index: int) -> Key:
    """One chunk of a build."""
    return document(key), f"{chunks(pipe, build)}{index:06d}"


def inbox(uid: str, shard: int) -> str:
    """A partition of a collection's events."""
    return f"inbox#{uid}#{shard:x}"


def event(uid: str, source: str, event_id: str) -> Key:
    """One line of the inbox."""
    name = _digest(source, event_id)
    return inbox(uid, int(name[0], 16)), name


def batch(tenant: str, batch_id: str) -> str:
    """The documents of a batch."""
    return f"batch#{_digest(tenant, batch_id)}"


def owner_of_document(uid: str, doc16: str) -> str:
    """Which documents have that `doc16`: one, but for a collision."""
    return f"own#{uid}#d#{doc16}"


def owner_of_blob(uid: str, blob: str) -> Key:
    """Which document's revisions name a blob."""
    return f"own#{uid}#r#{_digest(blob)}", "blob"


def owner_of_build(uid: str, build: str) -> Key:
    """Which document's versions name a build."""
    return f"own#{uid}#b#{_digest(build)}", "build"


def failed(uid: str) -> str:
    """The failed documents of a collection."""
    return f"failed#{uid}"


def tallies(uid: str) -> str:
    """The counters of a collection's documents by state."""
    return f"tally#{uid}"


def collection_part(uid: str) -> str:
    """The partition of a collection, its gates and its pipelines' namespaces."""
    return f"collection#{uid}"


def collection(uid: str) -> Key:
    """A collection with its generation."""
    return collection_part(uid), "collection"


def gate(uid: str, shard: int) -> Key:
    """The fence and the flip counter of one shard: epoch, flips, lame."""
    return collection_part(uid), f"{GATE}{shard:x}"


def namespace(uid: str, pipe: str) -> Key:
    """A pipeline that the collection ever had, and its confirmed position (R7)."""
    return collection_part(uid), f"{PIPE}{pipe}"


def tenant(name: str) -> str:
    """The partition of a tenant's names: collections, keys, sources."""
    return f"tenant#{name}"


def collection_name(tenant_id: str, name: str) -> Key:
    """Which collection has that name now."""
    return tenant(tenant_id), f"{NAME}{name}"


def api_key(key_id: str) -> Key:
    """A key, as every request looks it up."""
    return f"key#{key_id}", "key"


def tenants_key(tenant_id: str, key_id: str) -> Key:
    """The same key, as its tenant lists it."""
    return tenant(tenant_id), f"{API_KEY}{key_id}"


def key_ring(tenant_id: str) -> Key:
    """Counts changes of a tenant's keys, so that two revocations cannot both leave the other as the last admin key."""
    return tenant(tenant_id), "keys"


def source(tenant_id: str, name: str) -> Key:
    """A signed source."""
    return tenant(tenant_id), f"source#{name}"


def ingest(ingest_id: str) -> Key:
    """The same source by the random part of its URL."""
    return f"ingest#{ingest_id}", "source"


def _digest(*parts: str) -> str:
    return hashlib.sha256(identity.canonical_json(parts)).hexdigest()
