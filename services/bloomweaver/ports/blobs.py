"""Blobs: bytes under a key, each owned by one revision or one build, never overwritten, never shared.

Guarantees: after `put` returns the bytes are durable, and every `get` sees them whole or not at all; `delete` may be
repeated.
Missing: RetryableError(BLOB_MISSING). Unreachable or full: TransientError(BLOBS_UNAVAILABLE | DISK_FULL).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob in a listing. age_seconds: since it was put, on the store's clock."""

    key: str
    size_bytes: int
    age_seconds: float


class Blobs(Protocol):
    """Keys are `/`-separated, printable ASCII."""

    async def put(self, key: str, data: bytes) -> None:
        """Store under a key that was never used before."""
        ...

    async def get(self, key: str) -> bytes:
        """The whole blob."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove; unknown keys are ignored."""
        ...

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob below a prefix, in any order."""
        ...
