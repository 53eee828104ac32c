import asyncio
import dataclasses

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.vectors import matrix as matrices
from bloomweaver.adapters.vectors import sqlite, statements
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clock_ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import vectors as contract

NAMESPACE = contract.NAMESPACE


@pytest.fixture
async def opened():
    async with engine.open_engine("mem://", clock=clocks.ManualClock(), nonces=clock.SystemNonces()) as memory:
        yield memory


@pytest.fixture
def store(opened):
    made = sqlite.SqliteVectors(opened)
    yield made
    made.close()


def write_elsewhere(connection):
    for _ in range(statements.POSITIONS_KEPT):
        statements.upsert(connection, "other.name.space", dimension=None, rows=[])


async def everything(store, namespace=NAMESPACE):
    found = await store.query(namespace, contract.unit(1), k=10_000)
    return sorted(match.document_id for match in found.matches)


async def test_a_matrix_follows_few_changes_and_is_read_anew_after_many(store):
    await store.upsert(NAMESPACE, contract.random_records(5))
    await everything(store)
    first = store._matrices[NAMESPACE]
    await store.upsert(NAMESPACE, [contract.record("new", contract.unit(1))])
    assert "new" in await everything(store)
    assert store._matrices[NAMESPACE] is first
    many = contract.random_records(statements.FOLLOWED_ROWS + 1)
    for start in range(0, len(many), 1000):
        await store.upsert(NAMESPACE, many[start : start + 1000])
    await store.query(NAMESPACE, contract.unit(1), k=1)
    assert store._matrices[NAMESPACE] is not first


async def test_a_reader_that_was_away_for_long_misses_no_removal(opened, store):
    records = contract.random_records(20)
    await store.upsert(NAMESPACE, records)
    late = sqlite.SqliteVectors(opened)
    await everything(late)
    await store.delete(NAMESPACE, [record.id for record in records[:10]])
    await opened.write(write_elsewhere)
    await store.delete(NAMESPACE, [record.id for record in records[10:15]])
    kept = await opened.read(lambda c: c.execute("SELECT count(*) FROM vector_removed").fetchone()[0])
    assert kept == 5
    assert await everything(late) == await everything(store) == sorted(r.document_id for r in records[15:])
    late.close()


async def test_namespaces_not_queried_lately_leave_memory(opened):
    size = 4 * contract.DIMENSION * 10
    store = sqlite.SqliteVectors(opened, cache_bytes=2 * size)
    for name in ("a.a.a", "b.b.b", "c.c.c"):
        await store.upsert(name, contract.random_records(10))
    for name in ("a.a.a", "b.b.b", "a.a.a", "c.c.c"):
        assert len(await everything(store, name)) == 10
    assert list(store._matrices) == ["a.a.a", "c.c.c"]
    store.close()


async def test_a_namespace_larger_than_the_limit_is_still_answered(opened):
    store = sqlite.SqliteVectors(opened, cache_bytes=1)
    await store.upsert(NAMESPACE, contract.random_records(10))
    assert len(await everything(store)) == 10
    store.close()


async def test_a_large_namespace_is_dropped_in_pieces(opened, store):
    for seed in range(3):
        names = contract.random_records(1000, seed=seed)
        await store.upsert(NAMESPACE, [dataclasses.replace(each, id=f"{seed}/{each.id}") for each in names])
    await opened.write(lambda connection: statements.drop_some(connection, NAMESPACE))
    assert len(await everything(store)) == 3000 - statements.DROPPED_ROWS
    assert await store.namespaces("") == [NAMESPACE]
    await store.drop(NAMESPACE)
    for table in ("vector", "vector_namespace", "vector_removed"):
        assert await opened.read(lambda c, t=table: c.execute(f"SELECT count(*) FROM {t}").fetchone()[0]) == 0


class SlowEngine:
    """Reads are answered late, so that queries overlap; counts how often a namespace was read whole."""

    def __init__(self, inner):
        self._inner = inner
        self.clock, self.nonces, self.write = inner.clock, inner.nonces, inner.write
        self.compact = inner.compact
        self.loads = 0

    async def read(self, work):
        found = await self._inner.read(work)
        self.loads += isinstance(found, matrices.Matrix)
        await asyncio.sleep(0)
        return found


async def test_many_first_queries_read_the_namespace_once(opened):
    slow = SlowEngine(opened)
    store = sqlite.SqliteVectors(slow)
    await store.upsert(NAMESPACE, contract.random_records(10))
    await asyncio.gather(*(everything(store) for _ in range(20)))
    assert slow.loads == 1
    store.close()


async def test_a_query_of_another_dimension_is_a_setting_to_correct(store):
    await store.upsert(NAMESPACE, contract.random_records(1))
    with pytest.raises(errors.ConfigurationError) as caught:
        await store.query(NAMESPACE, contract.unit(1)[:4], k=1)
    assert caught.value.reason is Reason.DIMENSION_MISMATCH


async def test_a_query_that_is_no_number_is_refused(store):
    await store.upsert(NAMESPACE, contract.random_records(1))
    with pytest.raises(errors.PermanentError) as caught:
        await store.query(NAMESPACE, contract.unit(1) * float("nan"), k=1)
    assert caught.value.reason is Reason.INVALID_VECTOR


async def test_more_than_a_batch_is_a_mistake_of_the_caller(store):
    with pytest.raises(ValueError, match="at most 1000"):
        await store.upsert(NAMESPACE, contract.random_records(1001))


async def test_thousands_of_ids_are_deleted_in_batches(store):
    records = contract.random_records(1000)
    await store.upsert(NAMESPACE, records)
    await store.delete(NAMESPACE, [*(f"unknown/{n}" for n in range(1500)), *(each.id for each in records)])
    assert await everything(store) == []


class GoneEngine:
    def __init__(self):
        self.clock: clock_ports.Clock = clocks.ManualClock()
        self.nonces: clock_ports.Nonces = clock.SystemNonces()

    async def write(self, work):
        raise errors.TransientError(Reason.LEDGER_UNAVAILABLE, "gone", retry_after_seconds=7.0)

    read = write

    async def compact(self):
        return False


async def test_trouble_with_the_file_is_told_in_the_words_of_the_port():
    store = sqlite.SqliteVectors(GoneEngine())
    for call in (
        store.upsert(NAMESPACE, contract.random_records(1)),
        store.query(NAMESPACE, contract.unit(1), k=1),
        store.delete(NAMESPACE, ["x"]),
        store.present(NAMESPACE, ["x"]),
        store.namespaces(""),
        store.drop(NAMESPACE),
    ):
        with pytest.raises(errors.TransientError) as caught:
            await call
        assert (caught.value.reason, caught.value.retry_after_seconds) == (Reason.VECTORS_UNAVAILABLE, 7.0)
    store.close()
