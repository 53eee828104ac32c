"""Scenes that chance seldom draws, on the simulator: skewed clocks, a hot document, a text that kills its readers."""

import dataclasses
import itertools

import pytest

from tests.simulation import histories, plans, simulate

SEEDS = range(1, 13)
HOT_SECONDS = 180.0
LONGEST_WITHOUT_NEWS_SECONDS = 120.0
LONGEST_WAIT_SECONDS = 400.0

pytestmark = pytest.mark.timeout(900)  # seconds of work, on a machine that may be busy


@pytest.mark.parametrize("seed", SEEDS)
def test_clocks_that_disagree_change_nothing_at_all(seed):
    simulate.quiet()
    plan = plans.drawn(seed)

    exact = simulate.run(dataclasses.replace(plan, skew_seconds=0.0))
    skewed = simulate.run(dataclasses.replace(plan, skew_seconds=240.0))

    assert exact.violations == skewed.violations == []
    assert exact.hash == skewed.hash


def test_a_document_that_changes_every_second_is_shown_again_and_again():
    simulate.quiet()
    plan = dataclasses.replace(
        plans.calm(7),
        documents=1,
        operations=int(HOT_SECONDS),
        active_seconds=HOT_SECONDS,
        delete_share=0.0,
        resend_share=0.0,
        searches=100,
        source_ordered=(False, False),
    )

    history = simulate.run(plan).history

    for tenant in simulate.TENANTS:
        moments = news(history, tenant)
        assert len(moments) > 3
        assert max(b - a for a, b in itertools.pairwise(moments)) < LONGEST_WITHOUT_NEWS_SECONDS


def news(history: histories.History, tenant: str) -> list[float]:
    """When a search first showed each seq."""
    first: dict[int, float] = {}
    for search in history.searches:
        if search.tenant == tenant:
            for hit in search.hits or ():
                first.setdefault(hit.seq, search.ended)
    return [0.0, *sorted(first.values()), max(HOT_SECONDS, *first.values())]


@pytest.mark.parametrize("fate", list(histories.Fate))
def test_a_bad_text_does_not_hold_up_the_others(fate):
    simulate.quiet()
    plan = dataclasses.replace(
        plans.calm(11),
        documents=3,
        operations=2,
        delete_share=0.0,
        fate_share=0.4,
        fates=(fate,),
        searches=60,
        patches=False,
    )

    result = simulate.run(plan)

    assert result.violations == []
    good = [op for op in result.history.operations if op.outcome in ("created", "updated") and op.fate is None]
    assert good
    for op in good:
        assert waited(result.history, op) < LONGEST_WAIT_SECONDS, f"{fate}: {op}"


def waited(history: histories.History, op: histories.Operation) -> float:
    """From the answer until a search showed it or something newer; 0 where nobody looked afterwards."""
    assert op.ended is not None
    after = [s for s in history.searches if s.tenant == op.place.tenant and s.hits is not None and s.started > op.ended]
    for search in after:
        if any(hit.document == op.place.document and hit.seq >= op.seq for hit in search.hits or ()):
            return search.ended - op.ended
    newer = [o for o in history.operations if o.place == op.place and o.seq > op.seq]
    return 0.0 if newer or not after else after[-1].ended - op.ended
