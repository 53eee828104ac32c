"""What keeps a process from serving: named, remembered for a moment, without what only the log may have."""

from bloomweaver.domain.errors import TransientError
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime import doors, health
from bloomweaver.testing import clocks


def away(calls: list[str], *, when: list[bool]) -> health.Probe:
    async def ask() -> None:
        calls.append("asked")
        if when[0]:
            raise TransientError(Reason.LEDGER_UNAVAILABLE, "db.internal:5432 refused bloomweaver")

    return ask


async def test_a_part_that_is_away_is_named_with_its_reason_and_no_address() -> None:
    standing = health.Health(clock=clocks.ManualClock())
    standing.watch(probes={"ledger": away([], when=[True])})
    (sentence,) = (await standing.report()).obstacles
    assert sentence.startswith("ledger: ledger_unavailable (")
    assert "db.internal" not in sentence
    status, _ = doors.readiness(await standing.report())
    assert status == 503


async def test_what_can_be_done_without_for_a_while_degrades_and_stays_ready() -> None:
    standing = health.Health(clock=clocks.ManualClock())
    standing.watch(probes={"ledger": away([], when=[False]), "queues": away([], when=[True])}, needed=("ledger",))
    report = await standing.report()
    assert (report.obstacles, len(report.degraded)) == ((), 1)
    status, answer = doors.readiness(report)
    assert (status, answer["status"]) == (200, "ready")
    assert answer["degraded"] == list(report.degraded)


async def test_asking_often_is_no_load_and_a_part_that_comes_back_is_seen() -> None:
    clock, calls, when = clocks.ManualClock(), list[str](), [True]
    standing = health.Health(clock=clock)
    standing.watch(probes={"ledger": away(calls, when=when)})
    for _ in range(50):
        await standing.report()
    assert calls == ["asked"]
    when[0] = False
    clock.advance(health.REMEMBERED_SECONDS)
    assert await standing.report() == health.Report()


async def test_who_is_held_asks_nobody() -> None:
    calls: list[str] = []
    standing = health.Health(clock=clocks.ManualClock())
    standing.watch(probes={"ledger": away(calls, when=[False])})
    standing.hold("start", "still opening")
    assert (await standing.report()).obstacles == ("start: still opening",)
    assert calls == []
    standing.release("start")
    assert (await standing.report()).obstacles == ()
