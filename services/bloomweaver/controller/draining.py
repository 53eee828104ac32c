"""How long a pod has after SIGTERM: long enough for what its work was measured to take, and changed seldom.

Changing it rolls the pods, so it moves in doublings of what the resource wishes, up at once and down only when a
quarter would do. Work that takes longer than LONGEST_SECONDS is given back at the end, and done anew elsewhere.
"""

from typing import Final

LONGEST_SECONDS: Final = 600
SPARE_SECONDS: Final = 5
MUCH: Final = 4
LEAST_VISIBILITY_SECONDS: Final = 60
LONGEST_VISIBILITY_SECONDS: Final = 300


def drain_seconds(wished: int, *, work_seconds: int, before: int) -> int:
    """wished: by the resource, the least. before: as it is now, 0 for not at all."""
    needed = wished
    while needed < 2 * work_seconds + SPARE_SECONDS and needed < LONGEST_SECONDS:
        needed = max(wished, min(2 * needed, LONGEST_SECONDS))
    return before if wished <= before and needed <= before < MUCH * needed else needed


def visibility_seconds(drain: int) -> int:
    """Hints of a pod that was killed come back after it; a living one keeps renewing them."""
    return max(LEAST_VISIBILITY_SECONDS, min(drain, LONGEST_VISIBILITY_SECONDS))
