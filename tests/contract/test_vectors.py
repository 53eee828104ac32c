import asyncio
import contextlib

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.postgresql import engine as postgresql_engine
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.vectors import memory, postgresql, postgresql_tables, sqlite
from bloomweaver.domain import filters
from bloomweaver.testing.contracts import vectors as contract


class TestMemory(contract.VectorsContract):
    @pytest.fixture
    def vectors(self):
        return memory.MemoryVectors()


class TestSqlite(contract.VectorsContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{tmp_path}/bloom.db"

    @pytest.fixture
    async def vectors(self, url):
        async with engine.open_engine(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as engine_:
            store = sqlite.SqliteVectors(engine_)
            yield store
            store.close()

    async def test_a_query_sees_what_another_process_wrote_and_deleted(self, url, vectors):
        records = contract.random_records(30)
        await self.write(vectors, records[:10])
        async with engine.open_engine(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as other_engine:
            other = sqlite.SqliteVectors(other_engine)
            await other.upsert(contract.NAMESPACE, records[10:])
            assert await self.finds(vectors, records)
            await other.delete(contract.NAMESPACE, [each.id for each in records[5:15]])
            assert await self.finds(vectors, [*records[:5], *records[15:]])
            await other.drop(contract.NAMESPACE)
            assert await self.finds(vectors, [])
            await other.upsert(contract.NAMESPACE, records[:1])
            assert await self.finds(vectors, records[:1])
            other.close()


class TestSqliteInMemory(contract.VectorsContract):
    @pytest.fixture
    async def vectors(self):
        async with engine.open_engine("mem://", clock=clock.SystemClock(), nonces=clock.SystemNonces()) as engine_:
            store = sqlite.SqliteVectors(engine_)
            yield store
            store.close()


class TestPostgresql(contract.VectorsContract):
    """Scanned: as a namespace is until it has grown."""

    exact_bytes = postgresql_tables.EXACT_BYTES

    @pytest.fixture
    async def open_vectors(self, postgresql_store_url):
        """Opens the store as one more process would."""
        async with contextlib.AsyncExitStack() as stack:

            async def open_one():
                opening = postgresql_engine.open_engine(postgresql_store_url, nonces=clock.SystemNonces())
                store = postgresql.PostgresqlVectors(
                    await stack.enter_async_context(opening), exact_bytes=self.exact_bytes, calm_seconds=0.0
                )
                stack.push_async_callback(store.aclose)
                return store

            yield open_one

    @pytest.fixture
    async def vectors(self, open_vectors):
        return await open_vectors()

    async def test_a_namespace_that_another_process_drops_and_makes_again_is_found_again(self, vectors, open_vectors):
        other = await open_vectors()
        await self.write(vectors, contract.random_records(5))
        assert await self.finds(other, contract.random_records(5))
        await vectors.drop(contract.NAMESPACE)
        await vectors.upsert(contract.NAMESPACE, contract.random_records(3, seed=1))
        assert await self.finds(other, contract.random_records(3, seed=1))
        await vectors.drop(contract.NAMESPACE)
        await other.upsert(contract.NAMESPACE, contract.random_records(2, seed=2))
        assert await self.finds(vectors, contract.random_records(2, seed=2))

    async def test_two_processes_that_make_a_namespace_at_once_make_one(self, open_vectors):
        both = [await open_vectors(), await open_vectors()]
        records = contract.random_records(20)
        await asyncio.gather(*(both[n % 2].upsert(contract.NAMESPACE, [each]) for n, each in enumerate(records)))
        assert await self.finds(both[0], records)
        assert await both[1].namespaces("") == [contract.NAMESPACE]


class TestPostgresqlIndexed(TestPostgresql):
    """By HNSW from the first vector on."""

    exact_bytes = 0

    async def test_what_the_index_finds_is_what_a_scan_finds(self, vectors):
        records = contract.random_records(1000)
        await vectors.upsert(contract.NAMESPACE, records)
        await self.indexed(vectors)
        for seed in range(10):
            (asked,) = contract.random_records(1, seed=100 + seed)
            found = await vectors.query(contract.NAMESPACE, asked.vector, k=10)
            best = sorted(records, key=lambda each: -float(each.vector @ asked.vector))[:10]
            assert [match.document_id for match in found.matches] == [each.document_id for each in best]
            assert found.more

    async def test_a_filter_that_almost_nothing_passes_costs_no_matches_of_an_index(self, vectors):
        await vectors.upsert(contract.NAMESPACE, contract.random_records(1000))
        await self.indexed(vectors)
        where = filters.parse({"n": {"$gte": 995}})
        found = await vectors.query(contract.NAMESPACE, contract.unit(1), k=10, where=where)
        assert {match.document_id for match in found.matches} == {f"doc-{n}" for n in range(995, 1000)}
        assert not found.more

    async def indexed(self, vectors):
        """Wait until the namespace's index is there."""
        table = vectors._known[contract.NAMESPACE].table
        valid = f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{table}_hnsw')"
        for _ in range(1000):
            if await vectors._engine.fetch(valid) == [(True,)]:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("there is no index after 20 s")
