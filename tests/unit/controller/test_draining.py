import pytest

from bloomweaver.controller import draining


def test_what_is_wished_is_the_least():
    assert draining.drain_seconds(25, work_seconds=0, before=0) == 25
    assert draining.drain_seconds(25, work_seconds=3, before=0) == 25


def test_longer_work_has_more_time_and_never_without_end():
    assert draining.drain_seconds(25, work_seconds=30, before=25) == 100
    assert draining.drain_seconds(25, work_seconds=100_000, before=25) == draining.LONGEST_SECONDS


def test_a_wish_beyond_what_is_measured_holds():
    assert draining.drain_seconds(3600, work_seconds=30, before=0) == 3600


def test_small_changes_of_what_is_measured_roll_no_pod():
    now = draining.drain_seconds(25, work_seconds=30, before=25)
    assert {draining.drain_seconds(25, work_seconds=seconds, before=now) for seconds in range(11, 48)} == {now}
    assert draining.drain_seconds(25, work_seconds=2, before=now) == 25


def test_another_wish_holds_at_once():
    assert draining.drain_seconds(10, work_seconds=1, before=25) == 25  # near enough
    assert draining.drain_seconds(5, work_seconds=0, before=25) == 5
    assert draining.drain_seconds(60, work_seconds=1, before=25) == 60


@pytest.mark.parametrize(("drain", "visibility"), [(5, 60), (60, 60), (100, 100), (600, 300)])
def test_hints_stay_hidden_as_long_as_a_pod_may_take_within_bounds(drain: int, visibility: int):
    assert draining.visibility_seconds(drain) == visibility
