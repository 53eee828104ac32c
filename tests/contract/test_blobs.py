import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.blobs import files, memory, postgresql
from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.domain import errors
from bloomweaver.testing.contracts import blobs as contract


class TestMemory(contract.BlobsContract):
    @pytest.fixture
    def blobs(self):
        return memory.MemoryBlobs(clock=clock.SystemClock())


class TestFiles(contract.BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path):
        opened = files.FileBlobs(tmp_path / "blobs", clock=clock.SystemClock())
        yield opened
        opened.close()


class TestPostgresql(contract.BlobsContract):
    @pytest.fixture
    async def blobs(self, postgresql_store_url):
        async with engine.open_engine(postgresql_store_url, nonces=clock.SystemNonces()) as opened:
            yield postgresql.PostgresqlBlobs(opened)

    async def test_a_blob_that_is_put_again_stays_what_it_was_first(self, blobs):
        await blobs.put(contract.KEY, b"first")
        await blobs.put(contract.KEY, b"second")
        assert await blobs.get(contract.KEY) == b"first"

    async def test_what_is_over_the_limit_is_refused_and_says_where_it_fits(self, blobs):
        with pytest.raises(errors.PermanentError, match="BLOOMWEAVER_BLOBS"):
            await blobs.put(contract.KEY, bytes(postgresql.MAX_BYTES + 1))
        assert await contract.is_missing(blobs, contract.KEY)
