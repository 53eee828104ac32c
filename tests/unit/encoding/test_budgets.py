"""The budget of a batch, found on the work itself."""

import pytest

from bloomweaver.encoding import budgets


def tried(budget, rate_of, *, batches=60, seconds=1.0):
    """Full batches on a machine whose rate depends on the batch."""
    for _ in range(batches):
        tokens = budget.tokens(seconds=seconds)
        budget.observe(tokens, tokens / rate_of(tokens))
    return budget.tokens(seconds=seconds)


@pytest.mark.parametrize("best", [512, 1024, 4096])
def test_the_budget_at_which_the_machine_is_fastest_is_found(best):
    assert tried(budgets.Budget(16_384), lambda tokens: 20_000 if tokens <= best else 15_000) == best


def test_a_machine_that_only_gets_faster_is_given_the_most():
    assert tried(budgets.Budget(16_384), lambda tokens: 1_000 * tokens) == 16_384


def test_a_batch_takes_no_longer_than_it_may():
    budget = budgets.Budget(16_384)
    tried(budget, lambda tokens: 100_000)
    assert 1990 <= budget.tokens(seconds=0.02) <= 2000
    assert budget.tokens(seconds=0.0001) == budgets.FLOOR_TOKENS


def test_half_empty_batches_do_not_end_the_trial():
    budget = budgets.Budget(16_384)
    for _ in range(50):
        budget.observe(64, 0.01)
    assert tried(budget, lambda tokens: 20_000 if tokens <= 1024 else 10_000) == 1024


def test_one_slow_batch_does_not_mislead():
    budget = budgets.Budget(4096)
    budget.observe(512, 5.0)
    assert tried(budget, lambda tokens: 20_000) == 4096


def test_what_did_not_fit_the_memory_is_not_tried_again():
    budget = budgets.Budget(16_384)
    tried(budget, lambda tokens: 20_000, batches=3)
    budget.out_of_memory()
    assert tried(budget, lambda tokens: 1_000 * tokens) == 512


def test_a_clock_that_stands_still_changes_nothing():
    budget = budgets.Budget(2048)
    budget.observe(512, 0.0)
    assert budget.tokens(seconds=0.1) == budgets.START_TOKENS


def test_a_ceiling_below_the_floor_holds():
    budget = budgets.Budget(128)
    assert tried(budget, lambda tokens: 1_000) == 128
