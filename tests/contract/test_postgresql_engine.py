"""The engine against a real server: what it promises to those who build on it."""

import asyncio
import contextlib
import os
import pathlib
import urllib.parse

import psycopg
import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.postgresql import engine, loading, migrations
from bloomweaver.adapters.ledger import postgresql as ledgers
from bloomweaver.adapters.registry import postgresql as registries
from bloomweaver.domain import errors
from bloomweaver.domain.documents import Ordering
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import world
from tests.storm import servers
from tests.support import databases, running

MANY = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
HELD_UP = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def opening(url, **options):
    return engine.open_engine(url, nonces=databases.CountedNonces(), **options)


@pytest.fixture
async def opened(postgresql_url):
    async with opening(postgresql_url, migrates=True) as made, made.transaction() as tx:
        await tx.run("CREATE SCHEMA bloomweaver")
        await tx.run("CREATE TABLE kept (word text)")
        await tx.commit()
        yield made


async def words(made):
    return [word for (word,) in await made.fetch("SELECT word FROM kept ORDER BY word")]


async def test_an_exception_undoes_the_transaction(opened):
    async def break_off(tx):
        await tx.run("INSERT INTO kept VALUES ('a')")
        raise LookupError

    with pytest.raises(LookupError):
        await opened.run(break_off)
    async with opened.transaction() as tx:
        await tx.run("INSERT INTO kept VALUES ('b')")
    assert await words(opened) == ["b"]


async def test_the_last_statements_go_with_the_commit(opened):
    async with opened.transaction() as tx:
        await tx.commit(("INSERT INTO kept VALUES (%s)", ("a",)), ("INSERT INTO kept VALUES (%s)", ("b",)))
    assert await words(opened) == ["a", "b"]


async def test_an_error_among_the_last_statements_undoes_all_and_says_what_it_was(opened):
    async def fail_late(tx):
        await tx.run("INSERT INTO kept VALUES ('a')")
        await tx.commit(("INSERT INTO kept VALUES ('b')", ()), ("SELECT 1 / %s", (0,)))

    with pytest.raises(psycopg.errors.DivisionByZero):
        await opened.run(fail_late)
    assert await words(opened) == []


async def test_an_error_that_was_swallowed_inside_does_not_pass_for_a_commit(opened):
    async def swallow(tx):
        await tx.run("INSERT INTO kept VALUES ('a')")
        with contextlib.suppress(psycopg.Error):
            await tx.run("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await opened.run(swallow)
    assert await words(opened) == []


async def test_a_read_sees_one_moment_and_writes_nothing(opened):
    async with opened.read() as tx:
        before = await tx.rows("SELECT word FROM kept")
        async with opened.transaction() as other:
            await other.run("INSERT INTO kept VALUES ('a')")
        assert await tx.rows("SELECT word FROM kept") == before
    with pytest.raises(errors.TransientError, match="read-only"):
        await opened.run(lambda tx: tx.run("INSERT INTO kept VALUES ('b')"), reads=True)


async def test_the_database_tells_the_time(opened):
    (then,) = (await opened.fetch("SELECT extract(epoch FROM clock_timestamp())::float8"))[0]
    async with opened.transaction() as tx:
        assert then <= tx.now <= await opened.now()


async def test_a_connection_that_was_cut_is_made_again(opened):
    await asyncio.gather(*(opened.fetch("SELECT pg_sleep(0.01)") for _ in range(4)))
    with psycopg.connect(opened.address.url, autocommit=True) as admin:
        admin.execute(MANY, (admin.info.backend_pid,))
    await asyncio.gather(*(opened.fetch("SELECT 1") for _ in range(4)))

    async def cut_once(tx):
        await tx.run("INSERT INTO kept VALUES ('a')")
        tries.append(tx.now)
        if len(tries) == 1:
            await tx.run("SELECT pg_terminate_backend(pg_backend_pid())")

    tries: list[float] = []
    await opened.run(cut_once)
    assert (len(tries), await words(opened)) == (2, ["a"])


async def test_a_server_that_falls_silent_is_given_up_and_used_again_afterwards(postgresql_url):
    parts = urllib.parse.urlsplit(postgresql_url)
    async with servers.proxy(parts.port or 5432) as proxy:
        url = postgresql_url.replace(f":{parts.port}/", f":{proxy.port}/")
        async with opening(url, call_seconds=1.0, password=password) as made:
            assert await made.fetch("SELECT 1") == [(1,)]
            proxy.delay_seconds = 3600.0
            for call in (made.fetch("SELECT 2"), made.run(lambda tx: tx.row("SELECT 2"))):
                with pytest.raises(errors.TransientError, match="no answer within 1 s") as caught:
                    await call
                assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
            proxy.delay_seconds = 0.0
            await running.eventually(lambda: answered(made))


async def test_who_is_cancelled_while_a_connection_is_handed_over_ends(postgresql_url):
    async with opening(f"{postgresql_url}{'&' if '?' in postgresql_url else '?'}pool=2") as made, made.read():
        for turns in range(40):
            async with made.read():  # the second of two
                waiting = asyncio.create_task(made.fetch("SELECT 1"))
                await asyncio.sleep(0.01)
            for _ in range(turns):
                await asyncio.sleep(0)
            asked = waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled() or not asked, f"after {turns} turns the cancellation was lost"


def password():
    """What the server's file has for its own port, for the port of a proxy."""
    file = os.environ.get("PGPASSFILE")
    return pathlib.Path(file).read_text(encoding="utf-8").strip().rpartition(":")[2] if file else None


async def answered(made):
    try:
        return await made.fetch("SELECT 3") == [(3,)]
    except errors.TransientError:
        return False


async def test_what_deadlocks_is_done_again(opened):
    async with opened.transaction() as tx:
        await tx.run("INSERT INTO kept VALUES ('a'), ('b')")

    holding: set[str] = set()

    def crossing(first, second):
        async def cross(tx):
            await tx.run("UPDATE kept SET word = word || '+' WHERE starts_with(word, %s)", (first,))
            holding.add(first)
            await running.eventually(lambda: len(holding) == 2)  # each has its own, and now wants the other's
            await tx.run("UPDATE kept SET word = word || '+' WHERE starts_with(word, %s)", (second,))

        return cross

    await asyncio.gather(opened.run(crossing("a", "b")), opened.run(crossing("b", "a")))
    assert await words(opened) == ["a++", "b++"]


async def test_a_notification_wakes_and_a_cut_listener_listens_again(opened):
    heard = opened.listen("bloomweaver_test")
    assert await anext(heard) == ""  # begins by saying: look yourself
    await opened.fetch("SELECT pg_notify('bloomweaver_test', 'come')")
    assert await anext(heard) == "come"
    with psycopg.connect(opened.address.url, autocommit=True) as admin:
        admin.execute(MANY, (admin.info.backend_pid,))
    assert await anext(heard) == ""
    await heard.aclose()


async def test_a_database_that_is_away_is_told_as_such():
    with pytest.raises(errors.TransientError) as caught:
        async with opening("postgresql://postgres@127.0.0.1:1/none"):
            pass
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE


async def test_a_wrong_password_is_a_setting_to_correct(opened):
    with pytest.raises(errors.ConfigurationError, match="password") as caught:
        async with opening(opened.address.shown, password=lambda: "hush"):
            pass
    assert caught.value.reason is Reason.CREDENTIALS_REFUSED
    assert "hush" not in str(caught.value)


async def test_a_database_that_is_not_there_is_named(opened):
    with pytest.raises(errors.ConfigurationError, match="nowhere"):
        async with opening(opened.address.shown.rpartition("/")[0] + "/nowhere"):
            pass


async def test_two_deployments_share_a_database(postgresql_url):
    for schema in ("one", "two"):
        async with opening(f"{postgresql_url}?schema={schema}", migrates=True) as made:
            await made.ready("ledger")
            await made.fetch("UPDATE deployment SET name = %s RETURNING 1", (schema,))
    async with opening(f"{postgresql_url}?schema=one") as made:
        await made.ready("ledger")
        assert await made.fetch("SELECT name FROM deployment") == [("one",)]


async def test_racing_migrations_run_each_script_once(postgresql_url):
    async with contextlib.AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(opening(postgresql_url)) for _ in range(4)]
        done = await asyncio.gather(*(made.apply(part) for made in engines for part in migrations.COMPONENTS))
        ran = [(migrated.component, script) for migrated in done for script in migrated.scripts]
        assert sorted(ran) == sorted(
            (part, name) for part in migrations.COMPONENTS for name in migrations.scripts(part)
        )
        assert (await engines[0].apply("ledger")).scripts == ()


async def test_a_service_that_does_not_migrate_says_what_is_to_be_done(postgresql_url):
    async with opening(postgresql_url) as made:
        with pytest.raises(errors.ConfigurationError, match="Run bloomweaver migrate"):
            await made.ready("ledger")
        with pytest.raises(errors.ConfigurationError, match="Run bloomweaver migrate"):
            await made.fetch("SELECT * FROM deployment")


async def test_a_newer_schema_is_refused_by_all(postgresql_url):
    async with opening(postgresql_url) as made:
        await made.apply("ledger")
        await made.fetch(
            "INSERT INTO schema_migration (component, version, script) VALUES ('ledger', 99, 'x') RETURNING 1"
        )
        for refused in (made.ready("ledger"), made.apply("ledger")):
            with pytest.raises(errors.ConfigurationError, match="newer than this release") as caught:
                await refused
            assert caught.value.reason is Reason.SCHEMA_TOO_NEW


async def test_a_generation_does_not_change_while_rows_are_decided_by_it(postgresql_store_url):
    async with engine.open_engine(postgresql_store_url, nonces=clock.SystemNonces()) as made:
        registry, ledger = registries.PostgresqlRegistry(made), ledgers.PostgresqlLedger(made)
        collection, _ = await registry.create_collection(
            world.TENANT, "handbook", ordering=Ordering.ARRIVAL, description="", pipeline=world.A
        )
        async with made.transaction() as tx:
            await loading.shared(tx, [collection.uid])
            moving = asyncio.create_task(registry.build(collection.uid, epoch=1, pipeline=world.B))
            await ledger.snapshot([collection.uid])
            await running.eventually(lambda: made.fetch(HELD_UP))
            assert not moving.done()
        assert (await moving).generation is not None
