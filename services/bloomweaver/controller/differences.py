"""Whether an object is already as it should be, so that a reconcile that changes nothing sends nothing.

The server adds defaults and fields of others; what counts is that everything that we say is there. Where this sees a
difference and there is none (a quantity written in another way), an apply too many is sent, which is harmless.
"""

from typing import Any


def contained(wanted: Any, live: Any) -> bool:
    """Whether `live` has everything of `wanted`: objects by field, lists element by element, and no longer ones."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            (key in live and contained(value, live[key])) or (key not in live and value in ({}, [], ""))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(wanted) == len(live)
            and all(contained(one, other) for one, other in zip(wanted, live, strict=True))
        )
    return bool(wanted == live) and isinstance(wanted, bool) == isinstance(live, bool)
