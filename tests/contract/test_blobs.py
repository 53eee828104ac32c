import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.blobs import files, memory
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
