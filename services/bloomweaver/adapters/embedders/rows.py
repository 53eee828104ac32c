"""What every adapter checks of its passages and of its vectors; imports no runtime and no tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders


def require_room(spec: models.ModelSpec, passages: Sequence[embedders.Passage], kind: models.Kind) -> None:
    """Refuses what does not fit, rather than cutting it."""
    room = spec.room(kind)
    longest = max((len(passage.ids) for passage in passages), default=0)
    if longest > room:
        detail = f"{longest} tokens, model {spec.name} takes {room} of a {kind}"
        raise errors.PermanentError(reasons.Reason.TEXT_TOO_LONG, detail)


def finished(pooled: NDArray[np.float32], *, normalize: bool) -> embedders.Vectors:
    """Unit norm in fp32; a row that is not finite, or has no direction, becomes NaN throughout."""
    norms = np.linalg.norm(pooled, axis=1, keepdims=True)
    sound = np.isfinite(norms) & (norms > 0)
    vectors = pooled / np.where(sound, norms, 1.0) if normalize else pooled
    return np.where(sound, vectors, np.float32(np.nan)).astype(np.float32, copy=False)
