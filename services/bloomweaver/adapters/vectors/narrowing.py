"""Filters on stores whose own filters do not mean what ours do.

The store is asked with a wider filter, one that it can express, and what comes back is judged by `filters.matches`.
Invariant: the wider filter never rejects what ours accepts, so that a result is exact whatever the store makes of a
field that is missing, a list, or a negation.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from bloomweaver.domain import filters
from bloomweaver.domain.documents import Metadata
from bloomweaver.ports import vectors

NOTHING: Final = filters.AnyOf(())
"""Lets nothing through."""

_OPPOSITES: Final[dict[filters.Operator, filters.Operator]] = {"$eq": "$ne", "$ne": "$eq", "$in": "$nin", "$nin": "$in"}


class Candidate(NamedTuple):
    """What a store found, with the metadata that the filter judges."""

    match: vectors.Match
    metadata: Metadata


class Page(NamedTuple):
    """A store's answer to one question. more: it holds further candidates behind these."""

    candidates: Sequence[Candidate]
    more: bool
    position: int | None


def widened(where: filters.Filter | None) -> filters.Filter:
    """The filter without `$not`, which passes all that `where` does and perhaps more; EVERYTHING narrows nothing."""
    return filters.EVERYTHING if where is None else _widened(where, negated=False)


async def query(
    ask: Callable[[int], Awaitable[Page]], *, k: int, where: filters.Filter | None, limit: int
) -> vectors.Matches:
    """The k best that pass, asking the store for more as long as too few do, up to `limit` candidates."""
    wanted = min(k, limit)
    while True:
        page = await ask(wanted)
        passing = [each.match for each in page.candidates if filters.matches(where, each.metadata)]
        if len(passing) >= k or not page.more or wanted >= limit:
            return vectors.Matches(tuple(passing[:k]), page.position, page.more or len(passing) > k)
        wanted = min(2 * wanted, limit)


def _widened(tree: filters.Filter, *, negated: bool) -> filters.Filter:
    if isinstance(tree, filters.Not):
        return _widened(tree.clause, negated=not negated)
    if isinstance(tree, filters.Condition):
        return _condition(tree, negated=negated)
    clauses = [_widened(clause, negated=negated) for clause in tree.clauses]
    return _all(clauses) if isinstance(tree, filters.All) is not negated else _any(clauses)


def _condition(condition: filters.Condition, *, negated: bool) -> filters.Filter:
    operator = condition.operator
    if negated:
        if operator == "$exists":
            return filters.Condition(condition.field, "$exists", (not condition.values[0],))
        if operator not in _OPPOSITES:
            # What is not above a bound is below it, or absent, or no number: no store has one condition for that.
            return filters.EVERYTHING
        operator = _OPPOSITES[operator]
    if not condition.values:
        return NOTHING if operator == "$in" else filters.EVERYTHING
    return filters.Condition(condition.field, operator, condition.values)


def _all(clauses: Sequence[filters.Filter]) -> filters.Filter:
    if NOTHING in clauses:
        return NOTHING
    kept = tuple(clause for clause in clauses if clause != filters.EVERYTHING)
    return kept[0] if len(kept) == 1 else filters.All(kept)


def _any(clauses: Sequence[filters.Filter]) -> filters.Filter:
    if filters.EVERYTHING in clauses:
        return filters.EVERYTHING
    kept = tuple(clause for clause in clauses if clause != NOTHING)
    return kept[0] if len(kept) == 1 else filters.AnyOf(kept)
