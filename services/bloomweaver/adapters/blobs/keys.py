"""What a blob's key may look like, in every store: a path that stays inside, the same on every file system."""

import re

_KEY = re.compile(r"[!-.0-~]+(?:/[!-.0-~]+)*", re.ASCII)
_MAX_BYTES = 1024
_MAX_SEGMENT_BYTES = 200


def check(key: str) -> str:
    """The key itself. ValueError where the caller made up a key that is none: that is a defect, no one's input."""
    segments = key.split("/")
    if (
        not _KEY.fullmatch(key)
        or len(key) > _MAX_BYTES
        or any(segment.startswith(".") or len(segment) > _MAX_SEGMENT_BYTES for segment in segments)
    ):
        raise ValueError(f"not a key for a blob: {key!r}")
    return key
