"""Packing by length under a budget of padded tokens."""

from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.domain import models
from bloomweaver.encoding import batches

LENGTHS = st.lists(st.integers(min_value=1, max_value=512), max_size=200)


@given(LENGTHS, st.integers(min_value=16, max_value=4096))
def test_every_passage_is_in_exactly_one_batch(lengths, budget):
    plan = batches.plan(lengths, budget_tokens=budget)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))


@given(LENGTHS, st.integers(min_value=16, max_value=4096))
def test_no_batch_of_two_or_more_exceeds_the_budget(lengths, budget):
    for batch in batches.plan(lengths, budget_tokens=budget):
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or models.padded(longest, models.Kind.DOCUMENT) * len(batch) <= budget


def test_neighbours_in_length_share_a_batch():
    plan = batches.plan([10, 300, 12, 290, 11], budget_tokens=640)
    assert plan == [[1, 3], [2, 4, 0]]


def test_lengths_of_documents_are_rounded_up_to_sixteen():
    assert [models.padded(tokens, models.Kind.DOCUMENT) for tokens in (1, 16, 17, 256)] == [16, 16, 32, 256]


def test_lengths_of_short_queries_are_rounded_up_to_four():
    assert [models.padded(tokens, models.Kind.QUERY) for tokens in (1, 10, 64, 65)] == [4, 12, 64, 80]
