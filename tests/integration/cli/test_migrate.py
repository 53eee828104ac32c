"""`bloomweaver migrate` where the store is a PostgreSQL server."""

import json

import psycopg
import pytest

from bloomweaver.adapters.engines.postgresql import migrations
from bloomweaver.cli import main, surroundings


@pytest.fixture
def migrate(postgresql_url, capsys):
    def run(*options, **variables):
        around = surroundings.Surroundings({"BLOOMWEAVER_STORE": postgresql_url, **variables})
        code = main.run(["migrate", *options], around)
        return code, capsys.readouterr()

    return run


def test_it_makes_the_tables_once_and_says_what_it_did(migrate):
    code, said = migrate("--json")
    first = json.loads(said.out)
    assert code == 0
    assert [part["component"] for part in first["components"]] == list(migrations.COMPONENTS)
    assert all(part["found"] == 0 and part["scripts"] for part in first["components"])
    code, said = migrate()
    assert (code, said.out.count("nothing to do")) == (0, len(migrations.COMPONENTS))


def test_what_is_kept_elsewhere_is_left_alone(migrate, tmp_path):
    code, said = migrate("--json", BLOOMWEAVER_BLOBS=tmp_path.as_uri(), BLOOMWEAVER_VECTORS="mem://")
    assert [part["component"] for part in json.loads(said.out)["components"]] == ["ledger", "queues"]
    assert code == 0


def test_after_a_restore_numbers_go_on_above_all_that_were_given(migrate, postgresql_url):
    migrate()
    code, said = migrate("--restored")
    assert code == 0
    assert "bloomweaver audit --repair" in said.out
    with psycopg.connect(postgresql_url) as connection:
        assert connection.execute("SELECT epoch FROM bloomweaver.deployment").fetchone() == (2,)


def test_a_server_that_refuses_is_told_without_a_traceback(migrate, postgresql_url):
    store = postgresql_url.rpartition("/")[0] + "/nowhere"
    code, said = migrate(BLOOMWEAVER_STORE=store)
    assert code != 0
    assert 'database "nowhere" does not exist' in said.err
