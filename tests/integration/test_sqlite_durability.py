"""A process is killed in the middle of its work; what it was told is stored must be there, whole."""

import asyncio
import functools
import pathlib
import signal
import sqlite3
import sys

import pytest

from bloomweaver.domain.errors import ConfigurationError, TransientError
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import world
from tests.support import databases, running

WORKER = """
import asyncio, sys
from bloomweaver.testing.contracts import world
from tests.support import databases

async def main(url):
    async with databases.opened(url, databases.clock()) as database:
        made = await world.make(database, databases.clock())
        async def client(number):
            for n in range(1_000_000):
                document = f"doc-{number}-{n}"
                seq = await made.put(f"text of {document}", document)
                print("stored", document, seq, flush=True)
                if n % 3 == 0:
                    await made.index(seq, document)
                    print("shown", document, seq, flush=True)
                if n % 6 == 0:
                    await made.delete(document)
                    print("deleted", document, seq, flush=True)
        await asyncio.gather(*(client(number) for number in range(8)))

asyncio.run(main(sys.argv[1]))
"""


async def killed_after(url: str, lines: int) -> list[list[str]]:
    """What the process said before it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, url, stdout=asyncio.subprocess.PIPE, cwd=pathlib.Path(__file__).parents[2]
    )
    assert process.stdout is not None
    said = [await asyncio.wait_for(process.stdout.readline(), running.END_SECONDS) for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    told = b"".join(said) + rest[: rest.rfind(b"\n") + 1]
    return [line.split() for line in told.decode().splitlines()]


@pytest.mark.parametrize("lines", [1, 150, 700])
async def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path, lines):
    url = f"sqlite:///{tmp_path}/ledger.db"
    told = await killed_after(url, lines)
    async with databases.opened(url, databases.clock()) as database:
        made = await world.make(database, databases.clock())
        made.events = 10**9  # names of events that the killed process did not use
        for what, document, seq in told:
            row = await made.row(document)
            assert row.seq >= int(seq)
            if what == "deleted":
                assert row.tomb
            if what == "shown":
                assert row.tomb or row.live == int(seq)
        assert await made.put("after") > max(int(seq) for _, _, seq in told)
    assert sqlite3.connect(tmp_path / "ledger.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_two_processes_share_one_file(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with databases.opened(url, databases.clock()) as one, databases.opened(url, databases.clock()) as two:
        first = await world.make(one, databases.clock())
        second = await world.make(two, databases.clock())
        assert first.collection == second.collection

        async def client(made: world.World, name: str) -> list[int]:
            changes = [made.change(f"{name} {n}", event_id=f"{name}-{n}") for n in range(50)]
            return [(await made.accept(change)).seq for change in changes]

        taken = await asyncio.gather(client(first, "a"), client(second, "b"))
        flat = [seq for seqs in taken for seq in seqs]
        assert len(set(flat)) == 100
        assert (await first.row()) == (await second.row())
        assert (await first.row()).seq == max(flat)


async def test_migrations_race_and_run_again(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    opening = [databases.opened(url, databases.clock()) for _ in range(5)]
    opened = await asyncio.gather(*(context.__aenter__() for context in opening))
    names = {await database.registry.deployment() for database in opened}
    for context in opening:
        await context.__aexit__(None, None, None)
    assert len(names) == 1


async def test_a_file_of_a_newer_release_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with databases.opened(url, databases.clock()):
        pass
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("INSERT INTO schema_migration VALUES (999, 'later', 0)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError) as refused:
        async with databases.opened(url, databases.clock()):
            pass
    assert refused.value.reason is Reason.SCHEMA_TOO_NEW


async def test_a_file_that_another_process_locks_is_a_reason_to_wait(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with databases.opened(url, databases.clock()) as database:
        made = await world.make(database, databases.clock())
        await database.engine.write(lambda connection: connection.execute("PRAGMA busy_timeout = 50").close())
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError) as away:
            await made.put("text")
        assert away.value.reason is Reason.DATABASE_LOCKED
        other.execute("ROLLBACK")
        other.close()
        assert await made.put("text")


async def test_deleted_text_is_overwritten_in_the_file(tmp_path):
    canary = "canary-" + "x" * 200
    time = databases.clock()
    async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", time) as database:
        made = await world.make(database, time)
        await made.index(await made.put(canary))
        await made.delete()
        await made.remove_all()
        await made.collect()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert canary.encode() not in stored


async def test_deleted_text_is_overwritten_in_the_log_of_a_running_process(tmp_path):
    canary = "canary-" + "x" * 200
    time = databases.clock()
    async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", time) as database:
        made = await world.make(database, time)
        await made.index(await made.put(canary))
        await made.delete()
        await made.remove_all()
        await made.collect()
        await database.healing.trim(limit=100)
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert canary.encode() not in stored
        assert await made.put("text")


async def test_a_write_that_raises_undoes_itself_alone(tmp_path):
    async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", databases.clock()) as database:

        def write(connection, *, name, fails):
            connection.execute("INSERT INTO tenant VALUES (?, 0)", (name,))
            if fails:
                raise LookupError(name)

        writes = [database.engine.write(functools.partial(write, name=f"t{n:02}", fails=n % 3 == 0)) for n in range(30)]
        answers = await asyncio.gather(*writes, return_exceptions=True)
        assert [isinstance(answer, LookupError) for answer in answers] == [n % 3 == 0 for n in range(30)]
        assert await database.registry.tenants() == [f"t{n:02}" for n in range(30) if n % 3]


async def test_items_of_one_function_share_its_call_and_one_that_raises_fails_alone(tmp_path):
    calls = []

    def add(connection, names):
        calls.append(len(names))
        for name in names:
            connection.execute("INSERT INTO tenant VALUES (?, 0)", (name,))
        if "bad" in names:
            raise LookupError
        return [name.upper() for name in names]

    async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", databases.clock()) as database:
        names = [f"t{n:02}" for n in range(20)]
        assert await asyncio.gather(*(database.engine.write_item(add, name) for name in names)) == [
            n.upper() for n in names
        ]
        assert max(calls) > 1
        mixed = [database.engine.write_item(add, name) for name in ("u1", "bad", "u2")]
        answers = await asyncio.gather(*mixed, return_exceptions=True)
        assert [type(answer) for answer in answers] == [str, LookupError, str]
        assert await database.registry.tenants() == [*names, "u1", "u2"]


async def test_the_log_comes_into_the_file_beside_the_commits(tmp_path):
    def fill(connection):
        connection.executemany("INSERT INTO tenant VALUES (?, 0)", ((f"t{n:09}",) for n in range(20_000)))

    async with databases.opened(f"sqlite:///{tmp_path}/ledger.db", databases.clock()) as database:
        await database.engine.write(fill)
        for _ in range(10_000):
            if (tmp_path / "ledger.db").stat().st_size > 300_000:
                return
            await asyncio.sleep(0.01)
        pytest.fail("long after the commit all of it is in the log alone")
