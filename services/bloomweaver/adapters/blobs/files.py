"""`file:///dir`: one file per blob, its path the key.

Invariants: a file under a key is whole, because it is written and synced elsewhere in the folder and then renamed; what
`put` or `delete` returned for survives power loss, because the folders are synced too. Emptied folders are removed: a
`put` that races this makes them again.
"""

import asyncio
import concurrent.futures
import contextlib
import errno
import functools
import os
import pathlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from bloomweaver.adapters.blobs import keys as blob_keys
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs
from bloomweaver.ports import clock as clocks

THREADS = 8
PAGE = 500
ABANDONED_SECONDS = 3600.0
FULL_RETRY_SECONDS = 30.0

_UNFINISHED = ".unfinished"  # no key begins with a dot
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_RACES = 100
_SETTLED = 10_000

T = TypeVar("T")


class FileBlobs:
    """Threads of its own do the work; `close` ends them."""

    def __init__(self, folder: pathlib.Path, *, clock: clocks.Clock) -> None:
        self._folder = folder
        self._unfinished = folder / _UNFINISHED
        self._clock = clock
        self._settled: set[pathlib.Path] = set()
        try:
            self._unfinished.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._unfinished):
                self._forget_abandoned()
        except OSError as error:
            detail = (
                f"The folder {folder} for blobs cannot be written: {error.strerror}. Correct it or its permissions."
            )
            raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from error
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    async def put(self, key: str, data: bytes) -> None:
        await self._run(functools.partial(self._put, self._path(key), data))

    async def get(self, key: str) -> bytes:
        data = await self._run(functools.partial(self._get, self._path(key)))
        if data is None:
            raise errors.RetryableError(Reason.BLOB_MISSING, f"no blob {key}")
        return data

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [self._path(key) for key in keys]
        await self._run(functools.partial(self._delete, paths))

    async def list(self, prefix: str) -> AsyncIterator[blobs.BlobInfo]:
        walk = self._walk(prefix)
        while page := await self._run(lambda: list(islice(walk, PAGE))):
            for blob in page:
                yield blob

    def close(self) -> None:
        """What was begun is finished first."""
        self._threads.shutdown()

    def _path(self, key: str) -> pathlib.Path:
        return self._folder / blob_keys.check(key)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            if error.errno in _FULL:
                detail = f"The disk that holds {self._folder} is full. Free some space; nothing acknowledged is lost."
                raise errors.TransientError(Reason.DISK_FULL, detail, retry_after_seconds=FULL_RETRY_SECONDS) from error
            detail = f"The folder {self._folder} cannot be used: {error.strerror}."
            raise errors.TransientError(Reason.BLOBS_UNAVAILABLE, detail) from error

    def _put(self, path: pathlib.Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self._unfinished)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._move(name, path)
        except BaseException:
            pathlib.Path(name).unlink(missing_ok=True)
            raise

    def _get(self, path: pathlib.Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if not self._unfinished.is_dir():  # then it is the store that is missing, not the blob
                raise
            return None

    def _move(self, name: str, path: pathlib.Path) -> None:
        """Rename into place, in folders that a delete may be removing at this moment."""
        for last in [False] * _RACES + [True]:
            try:
                self._settled.difference_update(_make(path.parent))
                pathlib.Path(name).replace(path)
                break
            except FileNotFoundError:
                if last:
                    raise
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, which synced what there was to sync
            _sync(path.parent)
            self._settle(path.parent)

    def _settle(self, folder: pathlib.Path) -> None:
        """Sync the entries of new folders in the ones above, whoever made them."""
        if len(self._settled) > _SETTLED:
            self._settled.clear()
        while folder != self._folder and folder not in self._settled:
            _sync(folder.parent)
            self._settled.add(folder)
            folder = folder.parent

    def _delete(self, paths: Sequence[pathlib.Path]) -> None:
        emptied = set()
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                emptied.add(path.parent)
        for folder in {self._prune(folder) for folder in emptied}:
            with contextlib.suppress(FileNotFoundError):
                _sync(folder)

    def _prune(self, folder: pathlib.Path) -> pathlib.Path:
        """Remove empty folders upwards; gives the first that stays."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return folder
            folder = folder.parent
        return folder

    def _walk(self, prefix: str) -> Iterator[blobs.BlobInfo]:
        now = self._clock.now()
        folders = [prefix.rpartition("/")[0]]
        while folders:
            inside = folders.pop()
            for entry in _entries(self._folder / inside):
                key = f"{inside}/{entry.name}" if inside else entry.name
                if entry.name.startswith(".") or not (key.startswith(prefix) or prefix.startswith(f"{key}/")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(key)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    info = entry.stat(follow_symlinks=False)
                    yield blobs.BlobInfo(key, info.st_size, max(0.0, now - info.st_mtime))

    def _forget_abandoned(self) -> None:
        """Remove what a process that was killed left half-written."""
        for entry in _entries(self._unfinished):
            with contextlib.suppress(FileNotFoundError):
                if self._clock.now() - entry.stat().st_mtime > ABANDONED_SECONDS:
                    pathlib.Path(entry.path).unlink()


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make(folder: pathlib.Path) -> list[pathlib.Path]:
    """Make a folder and those above it; gives the new ones."""
    made = []
    while not folder.is_dir():
        made.append(folder)
        folder = folder.parent
    for new in reversed(made):
        new.mkdir(exist_ok=True)
    return made


def _sync(folder: pathlib.Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
