import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.engines.sqlite import engine
from bloomweaver.adapters.vectors import memory, sqlite
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
