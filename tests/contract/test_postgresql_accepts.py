"""Accepts that share a commit on PostgreSQL: what one caller brings, and what happens to it, is nobody else's."""

import asyncio

import psycopg
import pytest

from bloomweaver.domain import errors
from bloomweaver.domain.events import Accepted, Outcome
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import world
from tests.support import databases, running

HOLD = "SELECT 1 FROM bloomweaver.document WHERE doc = 'held' FOR UPDATE"
HELD_UP = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
CUT = HELD_UP.replace("pid", "pg_terminate_backend(pid)")


@pytest.fixture
async def database(postgresql_store_url, time):
    async with databases.opened(postgresql_store_url, time) as opened:
        yield opened


@pytest.fixture
async def w(database, time):
    return await world.make(database, time)


async def test_accepts_that_come_together_share_commits(w, database):
    changes = [w.change("text", f"doc-{number}") for number in range(200)]
    answers = await asyncio.gather(*(w.ledger.accept([change]) for change in changes))
    assert all(isinstance(answer, Accepted) for (answer,) in answers)
    written = await database.engine.fetch("SELECT count(DISTINCT xmin::text) FROM event")
    assert written[0][0] <= 4


async def test_a_document_many_times_in_one_batch_is_decided_in_order(w):
    changes = [w.change(f"text {number % 3}") for number in range(9)] + [w.change(None), w.change("again")]
    answers = await w.ledger.accept(changes)
    outcomes = [answer.outcome for answer in answers]
    assert outcomes == [Outcome.CREATED, *[Outcome.UPDATED] * 8, Outcome.DELETED, Outcome.CREATED]
    assert [answer.seq for answer in answers] == sorted({answer.seq for answer in answers})
    look = await w.look()
    assert [revision.seq for revision in look.revisions] == [answers[-1].seq]
    (first,) = await w.ledger.accept([changes[0]])
    assert (first.outcome, first.original, first.seq) == (Outcome.DUPLICATE, Outcome.CREATED, answers[0].seq)


async def test_what_the_server_cannot_store_fails_its_own_caller_only(w):
    good = [asyncio.create_task(w.ledger.accept([w.change("text", f"doc-{number}")])) for number in range(5)]
    bad = asyncio.create_task(w.ledger.accept([w.change("no\x00text", "doc-bad")]))
    with pytest.raises(psycopg.DataError):
        await bad
    for call in good:
        (answer,) = await call
        assert answer.outcome is Outcome.CREATED


async def test_a_caller_that_goes_away_takes_nobody_along(w):
    calls = [asyncio.create_task(w.ledger.accept([w.change("text", f"doc-{number}")])) for number in range(6)]
    await asyncio.sleep(0)
    calls[3].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls.pop(3)
    for call in calls:
        (answer,) = await call
        assert answer.outcome is Outcome.CREATED


async def test_a_batch_waits_for_a_row_that_another_process_holds_and_then_goes_on(w, postgresql_store_url):
    await w.put("text", "held")
    with psycopg.connect(postgresql_store_url) as other:
        other.execute(HOLD)
        waiting = asyncio.gather(*(w.put("new", name) for name in ("held", "free")))
        with psycopg.connect(postgresql_store_url, autocommit=True) as watching:
            await running.eventually(lambda: watching.execute(HELD_UP).fetchall())
        assert not waiting.done()
        other.rollback()
    assert all(await waiting)


async def test_a_server_that_is_cut_off_is_told_to_all_and_forgotten(w, database, postgresql_store_url):
    await w.put("text", "held")
    with psycopg.connect(postgresql_store_url, autocommit=True) as other:
        for _ in range(3):
            with other.transaction():
                other.execute(HOLD)
                calls = [asyncio.create_task(w.ledger.accept([w.change("new", "held")])) for _ in range(3)]
                await running.eventually(lambda: other.execute(CUT).fetchall())  # one of them waits for the row
            # What was under way was not committed, so it is simply done again.
            answers = await asyncio.gather(*calls)
            assert all(isinstance(answer, Accepted) for (answer,) in answers)


async def test_a_lock_that_lasts_is_told_as_such(w, postgresql_store_url, time):
    await w.put("text", "held")
    async with databases.opened(f"{postgresql_store_url}?pool=2", time) as impatient:
        both = asyncio.Barrier(2)

        async def hurry():
            async with impatient.engine.transaction() as tx:
                await tx.run("SELECT set_config('lock_timeout', '50ms', false)")
                await both.wait()

        await asyncio.gather(hurry(), hurry())  # every connection that it may have
        with psycopg.connect(postgresql_store_url) as other:
            other.execute(HOLD)
            with pytest.raises(errors.TransientError) as caught:
                await impatient.ledger.accept([w.change("new", "held")])
    assert caught.value.reason is Reason.DATABASE_LOCKED
