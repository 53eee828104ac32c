"""What the stores of one machine say when its disk is full or their file locked. Nothing acknowledged is lost."""

import contextlib
import sqlite3

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.queues import sqlite as queues
from bloomweaver.adapters.vectors import sqlite as vectors
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import queues as queues_contract
from bloomweaver.testing.contracts import vectors as vectors_contract


@pytest.fixture
async def opened(tmp_path):
    url = f"sqlite:///{tmp_path}/bloom.db"
    async with engine.open_engine(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as file_engine:
        yield file_engine


async def fill_disk(opened: engine.Engine) -> None:
    """SQLite's own limit on the file: it fails exactly as on a disk without space."""
    pages = (await opened.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()))[0]
    await opened.write(lambda connection: connection.execute(f"PRAGMA max_page_count={pages + 8}").fetchall())


async def free_disk(opened: engine.Engine) -> None:
    await opened.write(lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchall())


async def test_a_full_disk_refuses_hints_and_keeps_those_that_it_took(opened):
    store = queues.SqliteQueues(opened)
    await fill_disk(opened)
    sent, reason = 0, None
    while reason is None:
        try:
            await store.send(queues_contract.QUEUE, queues_contract.hints(50))
            sent += 50
        except errors.TransientError as error:
            reason = error.reason
    assert reason is Reason.DISK_FULL
    assert (await queues_contract.depth(store)).visible == sent
    await free_disk(opened)
    await store.send(queues_contract.QUEUE, queues_contract.hints(1))
    assert (await queues_contract.depth(store)).visible == sent + 1


async def test_a_full_disk_refuses_vectors_whole(opened):
    store = vectors.SqliteVectors(opened)
    await store.upsert(vectors_contract.NAMESPACE, vectors_contract.random_records(10))
    await fill_disk(opened)
    with pytest.raises(errors.TransientError) as caught:
        await store.upsert(vectors_contract.NAMESPACE, vectors_contract.random_records(1000, seed=1))
    assert caught.value.reason is Reason.DISK_FULL
    found = await store.query(vectors_contract.NAMESPACE, vectors_contract.unit(1), k=1000)
    assert len(found.matches) == 10
    store.close()


@pytest.mark.timeout(60)
async def test_a_locked_file_is_told_as_such_and_works_again_when_it_is_free(opened, tmp_path):
    store = queues.SqliteQueues(opened)
    with contextlib.closing(sqlite3.connect(tmp_path / "bloom.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.TransientError) as caught:
            await store.send(queues_contract.QUEUE, queues_contract.hints(1))
        assert caught.value.reason is Reason.DATABASE_LOCKED
        assert await queues_contract.take(store) == []
        other.execute("ROLLBACK")
    await store.send(queues_contract.QUEUE, queues_contract.hints(1))
    assert len(await queues_contract.take(store)) == 1
