"""What embedders found of themselves, read from the blobs where they left it: for the scaler, and for plans."""

from typing import Final

from bloomweaver.controller import scaling
from bloomweaver.domain import errors, measured
from bloomweaver.ports import blobs

READ_SECONDS: Final = 30.0


class Measurements:
    """`read` again and again; `found` is by vector space. A store that is away leaves what was known."""

    def __init__(self, blobs: blobs.Blobs, board: scaling.Board, *, deployment: str) -> None:
        self._blobs = blobs
        self._board = board
        self._deployment = deployment
        self._keys: dict[str, str] = {}
        self._found: dict[str, measured.Measured] = {}

    def found(self) -> dict[str, measured.Measured]:
        """As last read."""
        return self._found

    async def read(self) -> None:
        """Look for new ones; only what was not seen before is fetched."""
        newest: dict[str, blobs.BlobInfo] = {}
        async for blob in self._blobs.list(measured.folder(self._deployment)):
            space = measured.space_of(blob.key)
            if space not in newest or blob.age_seconds < newest[space].age_seconds:
                newest[space] = blob
        for space, blob in newest.items():
            if self._keys.get(space) != blob.key:
                await self._take(space, blob.key)
        self._board.measured(self._found)

    async def _take(self, space: str, key: str) -> None:
        try:
            found = measured.decode(await self._blobs.get(key))
        except errors.RetryableError:
            return  # superseded since it was listed; the next look finds what took its place
        self._keys[space] = key
        if found is not None:
            self._found = self._found | {space: found}
