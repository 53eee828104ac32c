"""Names that have to be the same everywhere and for ever: ids of vectors, namespaces, pipelines, blobs, fingerprints.

Invariant: a name never depends on a clock or a machine; equal inputs give equal names in all releases of one major
version.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import NewType

TenantId = NewType("TenantId", str)
CollectionUid = NewType("CollectionUid", str)
DocumentId = NewType("DocumentId", str)
Pipe = NewType("Pipe", str)
BuildId = NewType("BuildId", str)

MAX_SEQ = 2**53 - 1
SEQ_EPOCH_BITS = 40
MAX_SOURCE_VERSION = 2**63 - 1
INLINE_TEXT_BYTES = 64 * 1024
"""Up to this size text lives in the ledger's transaction; more goes to the blobs port first."""

MAX_DOCUMENT_ID_BYTES = 512
COLLECTION_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
DEFAULT_COLLECTION = "default"

_quoted = encode_basestring
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


def first_seq(epoch: int) -> int:
    """The floor of an epoch's sequence numbers: `epoch * 2**40`; the first seq taken is one more."""
    return epoch << SEQ_EPOCH_BITS


def content_hash(media_type: str, data: bytes) -> str:
    """What was sent: media type and bytes."""
    return hashlib.sha256(media_type.encode() + b"\x00" + data).hexdigest()


def meta_hash(title: str | None, url: str | None, metadata: Mapping[str, object]) -> str:
    """What rides beside the content: title, url and metadata, independent of key order."""
    if title is None and url is None and not metadata:
        return _meta_hash_of_nothing()
    return hashlib.sha256(canonical_json([title, url, metadata])).hexdigest()


@functools.cache
def _meta_hash_of_nothing() -> str:
    return hashlib.sha256(canonical_json([None, None, {}])).hexdigest()


def canonical_json(value: object) -> bytes:
    """One byte string for equal JSON values: sorted keys, no white space, UTF-8."""
    return _CANONICAL.encode(value).encode()


def fingerprint(*parts: str | int | None) -> str:
    """The identity of an event's content: the same event id with another fingerprint is refused (R2)."""
    # `canonical_json` of them, without what an encoder costs to set up: every accept comes here.
    written = ["null" if part is None else str(part) if isinstance(part, int) else _quoted(part) for part in parts]
    return hashlib.sha256(f"[{','.join(written)}]".encode()).hexdigest()


def pipe_of(*, space: str, max_tokens: int, overlap_tokens: int, revision: str, epoch: int) -> Pipe:
    """The pipeline: embedding space, chunking, chunker and extractor revision.

    epoch: of the generation that begins it. A namespace is thereby never used again: going back to an earlier model
    builds beside what is still being removed of it, so that a late delete cannot take vectors that are shown.
    """
    return Pipe(_digest("pipe", space, str(max_tokens), str(overlap_tokens), revision, str(epoch))[:16])


def document_key(document_id: str) -> str:
    """The `doc16` part of a vector id."""
    return _digest("doc", document_id)[:16]


def vector_prefix(document_id: str, seq: int, pipe: str) -> str:
    """The part of the vector ids that one version owns (R6)."""
    return f"{document_key(document_id)}/{seq}/{pipe[:8]}/"


def vector_ids(document_id: str, seq: int, pipe: str, count: int) -> list[str]:
    """The ids of the `count` vectors of one version: `doc16/seq/pipe8/i`."""
    prefix = vector_prefix(document_id, seq, pipe)
    return [f"{prefix}{index}" for index in range(count)]


@dataclass(frozen=True, slots=True)
class VectorName:
    """A vector id taken apart."""

    document_key: str
    seq: int
    pipe8: str
    index: int


def parse_vector_id(vector_id: str) -> VectorName | None:
    """The parts of a vector id, or None where the id is not one of ours."""
    parts = vector_id.split("/")
    if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdigit() and parts[3].isascii() and parts[3].isdigit()):
        return None
    return VectorName(parts[0], int(parts[1]), parts[2], int(parts[3]))


def namespace_of(deployment: str, collection_uid: str, pipe: str) -> str:
    """The store's namespace of one collection and pipeline; tenants never share one."""
    return f"{deployment}.{collection_uid}.{pipe}"


def parse_namespace(namespace: str) -> tuple[str, CollectionUid, Pipe] | None:
    """(deployment, collection uid, pipe), or None where the namespace is not one of ours."""
    parts = namespace.split(".")
    if len(parts) != 3:
        return None
    return parts[0], CollectionUid(parts[1]), Pipe(parts[2])


def blob_prefix(deployment: str, collection_uid: str) -> str:
    """Everything that one collection owns in the blobs port."""
    return f"{deployment}/{collection_uid}/"


def raw_blob_key(deployment: str, collection_uid: str, *, document_id: str, nonce: str) -> str:
    """Where text over INLINE_TEXT_BYTES goes; owned by one revision, never shared, hence the nonce."""
    return f"{blob_prefix(deployment, collection_uid)}raw/{document_key(document_id)}/{nonce}"


def build_blob_key(deployment: str, collection_uid: str, *, pipe: str, build: str) -> str:
    """Where a build (chunk manifest and fp32 vectors) lives."""
    return f"{blob_prefix(deployment, collection_uid)}processed/{pipe}/{build}"


def valid_document_id(document_id: str) -> bool:
    """1 to 512 bytes of UTF-8, no control characters, no `.` or `..` as a path segment."""
    try:
        size = len(document_id.encode())
    except UnicodeEncodeError:
        return False
    if not 1 <= size <= MAX_DOCUMENT_ID_BYTES:
        return False
    if not document_id.isprintable() and any(ord(char) < 32 or 127 <= ord(char) <= 159 for char in document_id):
        return False
    return "." not in document_id or not any(segment in (".", "..") for segment in document_id.split("/"))


def valid_collection_name(name: str) -> bool:
    """`[a-z0-9][a-z0-9._-]{0,62}`."""
    return COLLECTION_NAME.match(name) is not None
