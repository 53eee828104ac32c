"""The whole service on one PostgreSQL server: found, changed, gone; with the roles of the docs; when things break."""

import asyncio
import contextlib
import functools
import urllib.parse

import psycopg
import pytest

from bloomweaver.adapters import clock, opening
from bloomweaver.adapters.engines.postgresql import engine, migrations
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from tests.integration.cli import processes
from tests.support import pipelines, running
from tests.support import roles as roles_of_docs

SENDERS = 6

THROW_OUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'bloomweaver'"
)


async def test_what_is_sent_is_found_changed_and_gone(postgresql_url):
    async with pipelines.opened(url=postgresql_url) as pipe:
        await pipe.put("leave", "sixteen weeks of parental leave")
        await pipe.put("refund", "refunds take five days")
        await pipe.settle()
        assert await pipe.find("sixteen weeks of parental leave", limit=1) == ["leave"]
        await pipe.put("leave", "twenty weeks of parental leave")
        assert await pipe.find("sixteen weeks of parental leave", limit=1) == ["leave"]
        await pipe.settle()
        assert (await pipe.look("leave")).row.live == (await pipe.look("leave")).row.seq
        await pipe.delete("leave")
        assert await pipe.find("twenty weeks of parental leave") == ["refund"]
        await pipe.settle()
        assert len(await pipe.stored_ids()) == 1


async def test_what_one_process_takes_in_another_one_works(postgresql_url):
    async with pipelines.opened(url=postgresql_url) as one, pipelines.opened(url=postgresql_url) as other:
        assert one.deployment == other.deployment
        await asyncio.gather(*(one.put(f"doc-{n}", f"text number {n}") for n in range(20)))
        await asyncio.gather(one.settle(), other.settle())
        found = await asyncio.gather(*(other.find(f"text number {n}", limit=1) for n in range(20)))
        assert found == [[f"doc-{n}"] for n in range(20)]
        assert (await one.store.queues.depths()).get(one.change_queue) is None


@pytest.mark.timeout(600)
async def test_nothing_acknowledged_is_lost_when_connections_are_cut(postgresql_url, postgresql_server):
    database = urllib.parse.urlsplit(postgresql_url).path[1:]
    async with pipelines.opened(url=postgresql_url) as pipe:
        acknowledged: set[str] = set()

        async def send(name: str) -> None:
            while name not in acknowledged:
                with contextlib.suppress(errors.TransientError):
                    await pipe.put(name, f"text of {name}")
                    acknowledged.add(name)

        def enough_acknowledged(number: int) -> bool:
            return len(acknowledged) >= number

        async def cut() -> None:
            # A cut follows progress, not a clock: a slow machine must not be cut off before its first commit each time.
            async with await psycopg.AsyncConnection.connect(postgresql_server.url, autocommit=True) as admin:
                for enough in range(0, 60, 3):
                    await running.eventually(functools.partial(enough_acknowledged, enough))
                    await admin.execute(THROW_OUT, (database,))

        async def send_some(first: int) -> None:
            for number in range(first, 60, SENDERS):
                await send(f"doc-{number}")

        async with asyncio.timeout(500):
            await asyncio.gather(cut(), *(send_some(first) for first in range(SENDERS)))
        assert len(acknowledged) == 60
        looks = [await pipe.look(name) for name in sorted(acknowledged)]
        assert {look.row.key.document_id for look in looks} == acknowledged
        # Hints may have been lost between the two commits (R1); the rows say what has to be done.
        assert all(look.row.seq for look in looks)


@pytest.fixture
def roles(postgresql_url):
    with roles_of_docs.made(postgresql_url) as found:
        yield found


async def test_the_roles_of_the_docs_are_enough_and_no_more(roles):
    owner_url, service_url, password = roles
    services = opening.Access(postgresql_password=lambda: password, migrates=False)
    with pytest.raises(errors.ConfigurationError, match="bloomweaver migrate"):
        async with pipelines.opened(url=service_url, access=services):
            pass
    owner = engine.open_engine(owner_url, nonces=clock.SystemNonces(), password=lambda: password)
    async with owner as opened:
        for component in migrations.COMPONENTS:
            await opened.apply(component)
    async with pipelines.opened(url=service_url, access=services) as pipe:
        await pipe.put("leave", "sixteen weeks of parental leave")
        await pipe.settle()
        assert await pipe.find("sixteen weeks of parental leave") == ["leave"]
        await pipe.delete("leave")
        await pipe.reconciler.round()
        await pipe.settle()
        assert await pipe.stored_ids() == set()
    unprivileged = engine.open_engine(service_url, nonces=clock.SystemNonces(), password=lambda: password)
    async with unprivileged as opened:
        for forbidden in ("DROP TABLE document", "ALTER TABLE document ADD COLUMN a int", "TRUNCATE document"):
            with pytest.raises(errors.ConfigurationError, match="does not let us"):
                await opened.fetch(forbidden)


async def test_a_wrong_password_says_so_and_does_not_repeat_it(roles):
    _, service_url, _ = roles
    access = opening.Access(postgresql_password=lambda: "open sesame", migrates=False)
    with pytest.raises(errors.ConfigurationError) as caught:
        async with pipelines.opened(url=service_url, access=access):
            pass
    assert caught.value.reason is Reason.CREDENTIALS_REFUSED
    assert "open sesame" not in caught.value.detail


@pytest.mark.timeout(600)
def test_a_server_killed_under_a_push_loses_nothing(tmp_path, postgresql_url, postgresql_server):
    folder = tmp_path / "documents"
    folder.mkdir()
    names = [f"{number:03}.md" for number in range(60)]
    for name in names:
        (folder / name).write_text(f"# {name}\n\nWhat {name} says.\n")
    deployment = processes.Deployment(tmp_path)
    deployment.environment |= {"BLOOMWEAVER_STORE": postgresql_url, **postgresql_server.env}
    with deployment.serving() as server:
        push = deployment.begin("push", str(folder), "--no-wait")
        (folder / names[0]).write_text("# Changed\n\nIt says something else now.\n")
        server.kill()
        push.kill()
        push.wait()
    with deployment.serving():
        assert deployment.result("push", str(folder))["refused"] == []
        assert {name: deployment.text(name) for name in names} == {name: (folder / name).read_text() for name in names}
        audited = deployment.result("audit")
        assert (audited["clean"], audited["documents"]) == (True, len(names))
