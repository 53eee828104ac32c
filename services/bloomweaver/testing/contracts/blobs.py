"""What `ports.blobs` promises, as tests. Subclass `BlobsContract` in a test file and supply the fixture `blobs`."""

import asyncio

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs as ports

KEY = "dep/c0ffee/raw/0123456789abcdef/nonce1"


async def keys(blobs: ports.Blobs, prefix: str) -> list[str]:
    """The keys below a prefix, sorted."""
    return sorted([blob.key async for blob in blobs.list(prefix)])


async def is_missing(blobs: ports.Blobs, key: str) -> bool:
    """Whether a get says that there is no such blob."""
    try:
        await blobs.get(key)
    except errors.RetryableError as error:
        return error.reason is Reason.BLOB_MISSING
    return False


class BlobsContract:
    """Every adapter passes these unchanged."""

    async def test_a_blob_comes_back_as_it_was_put(self, blobs: ports.Blobs) -> None:
        for number, data in enumerate((b"", b"\x00\xff text", bytes(range(256)) * 20_000)):
            await blobs.put(f"{KEY}/{number}", data)
            assert await blobs.get(f"{KEY}/{number}") == data

    async def test_an_unknown_blob_is_missing(self, blobs: ports.Blobs) -> None:
        assert await is_missing(blobs, KEY)
        await blobs.put(f"{KEY}/below", b"x")
        assert await is_missing(blobs, f"{KEY}/other")
        assert await is_missing(blobs, f"{KEY}/below/it")

    async def test_a_deleted_blob_is_missing_and_its_neighbours_are_not(self, blobs: ports.Blobs) -> None:
        await blobs.put(KEY, b"one")
        await blobs.put(f"{KEY}2", b"two")
        await blobs.delete([KEY])
        assert await is_missing(blobs, KEY)
        assert await blobs.get(f"{KEY}2") == b"two"
        assert await keys(blobs, "") == [f"{KEY}2"]

    async def test_deleting_twice_or_what_never_was_is_fine(self, blobs: ports.Blobs) -> None:
        await blobs.put(KEY, b"one")
        await blobs.delete([KEY, KEY, "dep/never/was"])
        await blobs.delete([KEY])
        await blobs.delete([])
        assert await keys(blobs, "") == []

    async def test_a_listing_holds_all_below_its_prefix_and_nothing_else(self, blobs: ports.Blobs) -> None:
        names = ["dep/one/raw/a", "dep/one/raw/b", "dep/one/processed/p/c", "dep/oneself/raw/d", "other/one/raw/e"]
        for name in names:
            await blobs.put(name, name.encode())
        assert await keys(blobs, "dep/one/") == sorted(names[:3])
        assert await keys(blobs, "dep/one") == sorted(names[:4])
        assert await keys(blobs, "dep/one/raw/a") == names[:1]
        assert await keys(blobs, "") == sorted(names)
        assert await keys(blobs, "nothing/") == []

    async def test_a_listing_tells_size_and_age(self, blobs: ports.Blobs) -> None:
        await blobs.put(KEY, b"12345")
        (found,) = [blob async for blob in blobs.list("dep/")]
        assert (found.key, found.size_bytes) == (KEY, 5)
        assert 0 <= found.age_seconds < 60

    async def test_a_long_listing_is_whole(self, blobs: ports.Blobs) -> None:
        names = [f"dep/{number % 7}/{number:04}" for number in range(1100)]
        await asyncio.gather(*(blobs.put(name, b"x") for name in names))
        assert await keys(blobs, "dep/") == sorted(names)

    async def test_a_key_that_leads_elsewhere_is_refused(self, blobs: ports.Blobs) -> None:
        for key in ("", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".hidden/a", "a\nb", "ä", "a\x00b", "a" * 2000):
            try:
                await blobs.put(key, b"x")
            except ValueError:
                continue
            raise AssertionError(f"{key!r} was taken")

    async def test_what_is_put_while_its_neighbours_are_deleted_stays(self, blobs: ports.Blobs) -> None:
        async def come_and_go(number: int) -> None:
            for turn in range(10):
                await blobs.put(f"dep/c/raw/{number % 3}/{number}-{turn}", b"gone")
                await blobs.delete([f"dep/c/raw/{number % 3}/{number}-{turn}"])

        async def stay(number: int) -> None:
            await blobs.put(f"dep/c/raw/{number % 3}/stays-{number}", b"stays")

        await asyncio.gather(*(come_and_go(number) for number in range(12)), *(stay(number) for number in range(30)))
        assert await keys(blobs, "") == sorted(f"dep/c/raw/{number % 3}/stays-{number}" for number in range(30))
        assert await blobs.get("dep/c/raw/1/stays-1") == b"stays"
