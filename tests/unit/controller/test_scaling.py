import asyncio

import pytest

from bloomweaver.controller import scaling
from bloomweaver.domain.documents import Backlog
from bloomweaver.domain.measured import Measured
from bloomweaver.testing import clocks

LANE = "change:space-a"


def board() -> tuple[scaling.Board, clocks.ManualClock]:
    clock = clocks.ManualClock()
    return scaling.Board(clock=clock), clock


def test_a_lane_is_active_while_something_waits_and_a_little_longer():
    made, clock = board()
    made.note([Backlog(LANE, 1)])
    assert made.active(LANE)
    clock.advance(10)
    made.note([])
    assert made.active(LANE)
    clock.advance(scaling.LINGER_SECONDS)
    assert not made.active(LANE)


def test_a_lane_that_never_had_work_is_not_active():
    made, _ = board()
    made.note([Backlog("create", 1)])
    assert not made.active(LANE)


def test_writers_start_while_the_embedder_does_but_not_for_what_no_embedder_ever_takes():
    made, clock = board()
    made.note([Backlog(LANE, 1)])
    assert [lane for lane in ("create", "update", "delete") if made.active(lane)] == ["create", "update"]
    assert made.size("create").chunks == 1
    for _ in range(int(scaling.AHEAD_SECONDS + scaling.LINGER_SECONDS)):
        clock.advance(1)
        made.note([Backlog(LANE, 1)])
    assert made.active(LANE)
    assert not made.active("create")


@pytest.mark.parametrize(
    ("new", "shown", "started"),
    [(True, False, ["create"]), (False, True, ["update"]), (True, True, ["create", "update"])],
)
def test_only_the_writers_that_the_changes_lead_to_start(new, shown, started):
    made, _ = board()
    made.note([Backlog(LANE, 1, new=new, shown=shown)])
    assert [lane for lane in ("create", "update", "delete") if made.active(lane)] == started


def test_numbers_that_are_too_old_are_not_given_out():
    made, clock = board()
    with pytest.raises(scaling.Stale):
        made.active(LANE)
    made.note([Backlog(LANE, 1)])
    clock.advance(scaling.STALE_SECONDS + 1)
    with pytest.raises(scaling.Stale):
        made.size(LANE)


def test_a_book_counts_for_more_than_a_note():
    made, _ = board()
    made.note([Backlog(LANE, 1, bytes=800 * 500), Backlog("create", 1, bytes=10)])
    assert (made.size(LANE).chunks, made.size("create").chunks) == (500, 1)


def test_the_speed_that_pods_measured_decides_how_much_one_of_them_takes():
    made, _ = board()
    made.note([Backlog(LANE, 10)])
    before = made.size(LANE, drain_seconds=10).per_pod
    made.measured({LANE.partition(":")[2]: Measured(412, 3)})
    assert (before, made.size(LANE, drain_seconds=10).per_pod) == (500, 4120)


def test_what_lingers_keeps_one_pod():
    made, clock = board()
    made.note([Backlog(LANE, 1)])
    clock.advance(1)
    made.note([])
    assert made.size(LANE).chunks == 1


async def test_whoever_waits_for_a_change_is_told_of_every_look():
    made, _ = board()
    waiting = asyncio.create_task(made.change())
    await asyncio.sleep(0)
    made.note([])
    await waiting
