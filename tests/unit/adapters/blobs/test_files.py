import os
import pathlib
import subprocess
import sys

import pytest

from bloomweaver.adapters.blobs import files
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import clocks

KEY = "dep/c0ffee/processed/pipe/build1"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made" / "blobs"


@pytest.fixture
def time(tmp_path):
    return clocks.ManualClock(tmp_path.stat().st_mtime)


@pytest.fixture
def blobs(folder, time):
    opened = files.FileBlobs(folder, clock=time)
    yield opened
    opened.close()


def tree(folder: pathlib.Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


async def test_the_path_of_the_file_is_the_key(folder, blobs):
    await blobs.put(KEY, b"x")
    assert (folder / KEY).read_bytes() == b"x"


async def test_emptied_folders_go_and_others_stay(folder, blobs):
    await blobs.put(KEY, b"x")
    await blobs.put("dep/c0ffee/raw/doc/nonce", b"x")
    await blobs.delete([KEY])
    assert tree(folder) == [".unfinished", "dep", "dep/c0ffee", "dep/c0ffee/raw", "dep/c0ffee/raw/doc",
                            "dep/c0ffee/raw/doc/nonce"]  # fmt: skip
    await blobs.delete(["dep/c0ffee/raw/doc/nonce"])
    assert tree(folder) == [".unfinished"]


async def test_ages_are_counted_from_the_put(blobs, time):
    await blobs.put(KEY, b"x")
    time.advance(1000)
    (found,) = [blob async for blob in blobs.list("dep/")]
    assert 990 <= found.age_seconds <= 1001


async def test_half_written_files_are_not_listed_and_go_at_the_next_start_when_they_are_old(folder, blobs, time):
    for name, age in (("old", 2 * files.ABANDONED_SECONDS), ("new", 0.0)):
        path = folder / ".unfinished" / name
        path.write_bytes(b"half")
        os.utime(path, (time.now() - age, time.now() - age))
    assert [blob async for blob in blobs.list("")] == []
    files.FileBlobs(folder, clock=time).close()
    assert tree(folder) == [".unfinished", ".unfinished/new"]


async def test_a_store_that_vanished_is_an_outage_and_not_a_missing_blob(folder, blobs):
    await blobs.put(KEY, b"x")
    folder.rename(folder.with_name("elsewhere"))
    for call in (blobs.get(KEY), blobs.put(f"{KEY}2", b"x")):
        with pytest.raises(errors.TransientError) as caught:
            await call
        assert caught.value.reason is Reason.BLOBS_UNAVAILABLE


def test_a_folder_that_cannot_be_used_is_a_setting_to_correct(tmp_path, time):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(errors.ConfigurationError) as caught:
        files.FileBlobs(tmp_path / "file" / "blobs", clock=time)
    assert str(tmp_path / "file") in caught.value.detail


def test_a_read_only_folder_is_a_setting_to_correct(tmp_path, time):
    if os.geteuid() == 0:
        pytest.skip("not run: root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(errors.ConfigurationError):
        files.FileBlobs(tmp_path, clock=time)


FULL_DISK = """
import asyncio, pathlib, resource, sys
from bloomweaver.adapters import clock
from bloomweaver.adapters.blobs import files
from bloomweaver.domain import errors

async def main():
    blobs = files.FileBlobs(pathlib.Path(sys.argv[1]), clock=clock.SystemClock())
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    await blobs.put("a/small", b"x" * 1000)
    try:
        await blobs.put("a/large", b"x" * 1001)
    except errors.TransientError as error:
        print(error.reason, sorted([blob.key async for blob in blobs.list("")]))
    blobs.close()

asyncio.run(main())
"""


def test_a_full_disk_is_told_as_such_and_leaves_nothing_behind(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout == "disk_full ['a/small']\n", ran.stderr
    assert tree(tmp_path) == [".unfinished", "a", "a/small"]
