"""The cache: a place that may forget anything at any time. Nothing may depend on it being there, or being right.

Guarantees: no call raises a BloomWeaverError or takes longer than a moment, whatever the cache's server does; a value
that comes back is whole and as it was put, and not older than its seconds. It holds candidates and embeddings, never
what a search shows (R14); keys begin with whose they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ROUNDING = 0.01
"""A turn counts as there when so little of it is missing: times of today leave no more digits to fast rates."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Turns of a bucket. granted: they are the caller's now. left: for others. wait_seconds: until there is one."""

    granted: int
    left: int
    wait_seconds: float


class Leases(Protocol):
    """Where processes share the turns of a rate. It may forget too, and does not hold anybody up."""

    async def lease(self, key: str, turns: int, *, per_second: float, burst: int) -> Lease | None:
        """Take up to so many turns of a bucket that holds `burst` and refills; None where nobody can say. A bucket that
        was forgotten is full."""
        ...


class Cache(Leases, Protocol):
    """Keys are text, values bytes; a value too large is not kept."""

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values, None for what is not there, in the keys' order."""
        ...

    async def put(self, values: Mapping[str, bytes], *, seconds: float) -> None:
        """Keep values for so long, if they can be kept."""
        ...

    async def raise_to(self, key: str, number: int, *, seconds: float) -> None:
        """Keep the greater of a key's number and this one, as decimal digits; two callers at once leave the greater."""
        ...

    async def forget(self, keys: Sequence[str]) -> None:
        """Remove, if it can be reached."""
        ...
