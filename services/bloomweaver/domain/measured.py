"""What embedders found of themselves, as a blob beside those of the collections: it outlives the pod that wrote it.

Whoever sizes the next pods reads it. A blob is never written twice, so each finding has a key of its own, below the
vector space that it is about; the newest counts.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

NOTICEABLE: Final = 1.2
"""By less a finding does not differ from the one before: what hangs on it should not follow every breath."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one pod. chunks_per_second: while it embeds. work_seconds: the longest that one receive of hints took."""

    chunks_per_second: int
    work_seconds: int

    def resembles(self, other: "Measured") -> bool:
        """Whether the difference is not worth telling."""
        return _near(self.chunks_per_second, other.chunks_per_second) and _near(self.work_seconds, other.work_seconds)


def folder(deployment: str, space: str = "") -> str:
    """Every finding of a deployment, or of one space."""
    return f"{deployment}/measured/" + (f"{space}/" if space else "")


def key_of(deployment: str, space: str, *, nonce: str) -> str:
    """A new finding's."""
    return f"{folder(deployment, space)}{nonce}"


def space_of(key: str) -> str:
    """What a finding is about."""
    return key.split("/")[-2]


def encode(found: Measured) -> bytes:
    """As it is stored."""
    return json.dumps(asdict(found)).encode()


def decode(data: bytes) -> Measured | None:
    """None for what a later release wrote otherwise."""
    try:
        told = json.loads(data)
        return Measured(int(told["chunks_per_second"]), int(told["work_seconds"]))
    except (ValueError, KeyError, TypeError):
        return None


def _near(one: int, other: int) -> bool:
    return max(one, other) <= NOTICEABLE * max(1, min(one, other))
