"""A build on disk: the chunk manifest and the fp32 vectors of one (revision, pipeline).

Writers, chunk reuse, metadata edits and repairs read builds alone: a lost vector store is refilled without embedding.
Layout: magic, length of the header (4 bytes, big endian), header (JSON), vectors (little-endian fp32, row by row),
SHA-256 of all before it. A truncated or altered build never decodes.
"""

import hashlib
import json
import struct
from dataclasses import dataclass

from bloomweaver.domain.errors import RetryableError
from bloomweaver.domain.reasons import Reason

_MAGIC = b"BWB1"
_DIGEST_BYTES = 32
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Build:
    """hashes: of the chunks, in order. vectors: len(hashes) rows of `dimension` fp32 numbers."""

    dimension: int
    hashes: tuple[str, ...]
    vectors: bytes

    def row(self, index: int) -> bytes:
        """One chunk's vector."""
        size = self.dimension * _FLOAT_BYTES
        return self.vectors[index * size : (index + 1) * size]


def encode(build: Build) -> bytes:
    """The bytes to store."""
    if len(build.vectors) != len(build.hashes) * build.dimension * _FLOAT_BYTES:
        raise ValueError("a build holds one vector per chunk")
    header = json.dumps({"dimension": build.dimension, "hashes": build.hashes}, separators=(",", ":")).encode()
    body = _MAGIC + struct.pack(">I", len(header)) + header + build.vectors
    return body + hashlib.sha256(body).digest()


def decode(data: bytes) -> Build:
    """The build; RetryableError(BLOB_MISSING) where the bytes are not a whole build (a later read may be)."""
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise RetryableError(Reason.BLOB_MISSING, "The stored build is damaged.")
    start = len(_MAGIC) + 4
    (length,) = struct.unpack(">I", body[len(_MAGIC) : start])
    header = json.loads(body[start : start + length])
    return Build(header["dimension"], tuple(header["hashes"]), body[start + length :])
