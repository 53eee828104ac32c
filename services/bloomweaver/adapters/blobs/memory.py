"""`mem://`: blobs in a dictionary, for tests and the simulator."""

from collections.abc import AsyncIterator, Sequence

from bloomweaver.adapters.blobs import keys as blob_keys
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs
from bloomweaver.ports import clock as clocks


class MemoryBlobs:
    def __init__(self, *, clock: clocks.Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[bytes, float]] = {}

    async def put(self, key: str, data: bytes) -> None:
        self._held[blob_keys.check(key)] = (bytes(data), self._clock.now())

    async def get(self, key: str) -> bytes:
        if blob_keys.check(key) not in self._held:
            raise errors.RetryableError(Reason.BLOB_MISSING, f"no blob {key}")
        return self._held[key][0]

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._held.pop(blob_keys.check(key), None)

    async def list(self, prefix: str) -> AsyncIterator[blobs.BlobInfo]:
        now = self._clock.now()
        for key, (data, put_at) in list(self._held.items()):
            if key.startswith(prefix):
                yield blobs.BlobInfo(key, len(data), now - put_at)
