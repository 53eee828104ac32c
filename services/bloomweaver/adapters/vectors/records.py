"""What every vector store refuses, and how an answer is put together from scored candidates."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bloomweaver.domain import errors, filters
from bloomweaver.domain.documents import Metadata
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors


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


def misfit(asked: int, dimension: int) -> errors.ConfigurationError:
    """The error of a query in another dimension than the namespace's."""
    detail = f"the query has {asked} dimensions, the namespace {dimension}: two models share one name"
    return errors.ConfigurationError(Reason.DIMENSION_MISMATCH, detail)


def best(
    ranked: Iterable[tuple[int, float]],
    *,
    k: int,
    where: filters.Filter | None,
    metadata_of: Callable[[int], Metadata],
    name_of: Callable[[int], tuple[str, int, int]],
) -> tuple[tuple[vectors.Match, ...], bool]:
    """The first k candidates (place, score) that pass the filter, and whether there is one more.

    Looks at no more candidates than it has to, so that a filter costs what it rejects, not what the namespace holds.
    """
    matches: list[vectors.Match] = []
    for place, score in ranked:
        if where is not None and not filters.matches(where, metadata_of(place)):
            continue
        if len(matches) == k:
            return tuple(matches), True
        matches.append(vectors.Match(*name_of(place), min(1.0, max(-1.0, score))))
    return tuple(matches), False
