"""The servers of the tests: they come up, keep tests apart, and leave nothing behind."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from tests.support import running
from tests.support.servers import fixtures, postgresql, processes


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_database_is_empty_whatever_the_test_before_left(postgresql_databases):
    for _ in range(2):
        with postgresql_databases.empty() as url, psycopg.connect(url) as connection:
            found = connection.execute("SELECT extname FROM pg_extension WHERE extname = 'vector'").fetchall()
            assert found == [("vector",)]
            connection.execute("CREATE SCHEMA ours")
            connection.execute("CREATE TABLE ours.left_behind (a int)")


def test_a_migrated_database_holds_what_migrating_left_and_nothing_else(postgresql_databases):
    def migrate(url):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE SCHEMA ours")
            connection.execute("CREATE TABLE ours.kept (a int GENERATED ALWAYS AS IDENTITY, b text)")
            connection.execute("INSERT INTO ours.kept (b) VALUES ('first')")

    for _ in range(3):
        with postgresql_databases.migrated(migrate, schema="ours") as url, psycopg.connect(url) as connection:
            assert connection.execute("SELECT b FROM ours.kept").fetchall() == [("first",)]
            assert connection.execute("SELECT to_regclass('ours.made')").fetchone() == (None,)
            connection.execute("UPDATE ours.kept SET b = 'second'")
            connection.execute("CREATE TABLE ours.made (a int)")


def test_two_databases_at_once_are_two(postgresql_databases):
    with postgresql_databases.empty() as one, postgresql_databases.empty() as other:
        assert one != other


def test_a_server_ends_with_a_run_that_is_killed(tmp_path):
    with fixtures.or_not_run():
        postgresql.prepare()
    program = (
        "import time\n"
        "from tests.support.servers import postgresql\n"
        "with postgresql.running(durable=False) as server:\n"
        "    print(server.pid, server.env['PGPASSFILE'], flush=True)\n"
        "    time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[3])}
    env.pop(postgresql.GIVEN, None)
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env)
    with run:
        assert run.stdout is not None
        pid, password_file = run.stdout.readline().split()
        assert alive(int(pid))
        os.kill(run.pid, signal.SIGKILL)
    give_up = time.monotonic() + running.END_SECONDS
    while (alive(int(pid)) or pathlib.Path(password_file).exists()) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not alive(int(pid))
    assert not pathlib.Path(password_file).exists()


def test_a_server_that_does_not_start_says_why(tmp_path):
    shouting = [sys.executable, "-c", "import sys; sys.exit('no room at the inn')"]
    with (
        pytest.raises(processes.Broken, match="no room at the inn"),
        processes.started(shouting, name="inn", folder=tmp_path, ready=lambda: False),
    ):
        pass
