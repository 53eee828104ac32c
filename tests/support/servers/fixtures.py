"""The servers as fixtures. Where one cannot be had, the tests that need it are not run, and say why.

A server is started at its first use and serves the whole run; what a test gets of it is its own.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.support.servers import catalog, processes

Stores = Callable[[], contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def or_not_run() -> Iterator[None]:
    """A server that cannot be had leaves its tests out."""
    try:
        yield
    except processes.Absent as absent:
        pytest.skip(f"not run: {absent}")


@contextlib.contextmanager
def session(name: str, **options: object) -> Iterator[processes.Server]:
    """A server for the rest of the run; its clients in this process find its credentials in the environment."""
    with contextlib.ExitStack() as stack:
        with or_not_run():
            server = stack.enter_context(catalog.module(name).running(**options))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for variable, value in server.env.items():
            patch.setenv(variable, value)
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[processes.Server]:
    """Not durable: these tests kill processes, not machines."""
    with session("postgresql", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_databases(postgresql_server: processes.Server) -> Iterator[object]:
    """A `databases.Databases`."""
    with or_not_run():
        try:
            from tests.support.servers import databases
        except ImportError as error:
            raise processes.Absent(f"PostgreSQL: {error}") from error
    opened = databases.Databases(postgresql_server.url, prefix=f"bloomweaver_{os.getpid()}_{secrets.token_hex(2)}")
    yield opened
    opened.close()


@pytest.fixture
def postgresql_url(postgresql_databases) -> Iterator[str]:
    """An empty database with pgvector."""
    with postgresql_databases.empty() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_server() -> Iterator[processes.Server]:
    """In memory; a test makes a table of its own."""
    with session("dynamodb") as server:
        yield server


@pytest.fixture(scope="session")
def elasticmq_server() -> Iterator[processes.Server]:
    """In memory; a test makes queues below a prefix of its own."""
    with session("elasticmq") as server:
        yield server


@pytest.fixture(scope="session")
def versitygw_server() -> Iterator[processes.Server]:
    """A folder that goes with it; a test makes a bucket of its own."""
    with session("versitygw") as server:
        yield server


@pytest.fixture(scope="session")
def opensearch_server() -> Iterator[processes.Server]:
    """A test makes indices below a prefix of its own."""
    with session("opensearch") as server:
        yield server


@pytest.fixture(scope="session")
def chroma_server() -> Iterator[processes.Server]:
    """A test leaves no collection behind."""
    with session("chroma") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_stores(postgresql_databases) -> Stores:
    """Lends databases that hold every table of ours, and in them what migrating leaves."""
    return functools.partial(postgresql_databases.migrated, _migrate, schema="bloomweaver")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[processes.Server]:
    """A test uses keys of its own."""
    with session("valkey") as server:
        yield server


@pytest.fixture
def postgresql_store_url(postgresql_stores: Stores) -> Iterator[str]:
    """One of these."""
    with postgresql_stores() as url:
        yield url


def _migrate(url: str) -> None:
    """On a thread of its own: a fixture may already be running in an event loop."""
    from bloomweaver.adapters import clock
    from bloomweaver.adapters.engines.postgresql import engine, migrations

    async def migrate() -> None:
        async with engine.open_engine(url, nonces=clock.SystemNonces(), migrates=True) as opened:
            for component in migrations.COMPONENTS:
                await opened.apply(component)

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate()).result()
