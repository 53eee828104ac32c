import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.adapters.queues import sqs_names
from bloomweaver.domain import errors


def test_names_of_our_queues_are_readable():
    assert sqs_names.name_of("bloom", "create") == "bloom_create"
    assert sqs_names.name_of("bloom", "change:0123456789abcdef") == "bloom_change__0123456789abcdef"
    assert sqs_names.name_of("bloom", "a_b.c") == "bloom_a_5fb_2ec"


@given(st.text(min_size=1, max_size=5))
def test_every_name_comes_back(queue):
    assert sqs_names.queue_of("bloom", sqs_names.name_of("bloom", queue)) == queue


@pytest.mark.parametrize(
    "name",
    [
        "bloom",
        "bloom_",
        "blooming_create",
        "other_create",
        "bloom_create_dlq",
        "bloom_a_zz",
        "bloom_a_ff",
        "bloom_a_61",
    ],
)
def test_what_is_not_ours_is_nobodys(name):
    assert sqs_names.queue_of("bloom", name) is None


def test_a_name_that_sqs_would_refuse_is_refused_here():
    with pytest.raises(errors.ConfigurationError, match="shorter prefix"):
        sqs_names.name_of("p" * 40, "change:" + "x" * 40)


@pytest.mark.parametrize("prefix", ["", "a_b", "a b", "x" * 41, "ä"])
def test_a_prefix_that_could_be_mistaken_is_refused(prefix):
    with pytest.raises(errors.ConfigurationError, match="prefix of queues"):
        sqs_names.check_prefix(prefix)
