"""What every vector store refuses, and how an answer is put together from scored candidates."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bloomweaver.domain import errors, filters
from bloomweaver.domain.documents import Metadata
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors


class Name(NamedTuple):
    """What an answer and a filter need of a stored vector."""

    document_id: str
    seq: int
    idx: int
    metadata: Metadata


def check(records: Sequence[vectors.Record], *, dimension: int | None, max_batch: int) -> int | None:
    """The records' dimension, or the given one where there are none. PermanentError for what no store takes."""
    if len(records) > max_batch:
        raise ValueError(f"{len(records)} records in one call, at most {max_batch}")
    for record in records:
        if record.vector.ndim != 1 or dimension not in (None, len(record.vector)):
            detail = f"vector {record.id} has shape {record.vector.shape}, the namespace {dimension} dimensions"
            raise errors.PermanentError(Reason.STORE_REFUSED, detail)
        if not np.isfinite(record.vector).all():
            raise errors.PermanentError(Reason.STORE_REFUSED, f"vector {record.id} holds NaN or infinity")
        dimension = len(record.vector)
    return dimension


def check_query(vector: vectors.Vector, *, dimension: int) -> None:
    """Raises where the namespace cannot be asked with this vector."""
    if len(vector) != dimension:
        detail = f"the query has {len(vector)} dimensions, the namespace {dimension}: two models share one name"
        raise errors.ConfigurationError(Reason.DIMENSION_MISMATCH, detail)
    if not np.isfinite(vector).all():
        raise errors.PermanentError(Reason.INVALID_VECTOR, "the query's vector holds NaN or infinity")


def best(
    ranked: Iterable[tuple[int, float]],
    names: Sequence[Name | None],
    *,
    k: int,
    where: filters.Filter | None,
) -> tuple[tuple[vectors.Match, ...], bool]:
    """The first k candidates (place in `names`, score) that pass the filter, and whether there is one more.

    Looks at no more candidates than it has to, so that a filter costs what it rejects, not what the namespace holds.
    Chunks of one document share their metadata, which therefore is judged once. A name that is None is gone.
    """
    matches: list[vectors.Match] = []
    # By identity; holding the metadata keeps an identity from being given to another while this runs.
    verdicts: dict[int, tuple[Metadata, bool]] = {}
    for place, score in ranked:
        name = names[place]
        if name is None:
            continue
        if where is not None:
            verdict = verdicts.get(id(name.metadata))
            if verdict is None:
                verdict = (name.metadata, filters.matches(where, name.metadata))
                verdicts[id(name.metadata)] = verdict
            if not verdict[1]:
                continue
        if len(matches) == k:
            return tuple(matches), True
        matches.append(vectors.Match(name.document_id, name.seq, name.idx, min(1.0, max(-1.0, score))))
    return tuple(matches), False
