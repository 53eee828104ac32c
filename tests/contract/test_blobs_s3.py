"""S3's adapter against versitygw, and against answers that no server here would give."""

import asyncio
import contextlib
import itertools

import httpx2
import pytest

from bloomweaver.adapters.blobs import s3
from bloomweaver.adapters.engines.aws import addresses, clients
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import blobs as contract
from tests.support import aws

BUCKETS = itertools.count(1)
PART_BYTES = 5 * 1024 * 1024
"""The least that S3 allows, so that a test can put several."""


async def make_bucket(access):
    name = f"bucket-{next(BUCKETS)}"
    async with clients.open_calls("s3", access, what="S3", unavailable=Reason.BLOBS_UNAVAILABLE) as calls:
        await calls.call("create_bucket", {"Bucket": name})
    return name


@pytest.fixture
def settings(versitygw_server):
    file = versitygw_server.env["AWS_SHARED_CREDENTIALS_FILE"]
    return {"region": "us-east-1", "endpoint": versitygw_server.url, "credentials_file": file}


@pytest.fixture
async def bucket(settings):
    return await make_bucket(addresses.Access(**settings))


@pytest.fixture
async def blobs(bucket, settings):
    async with s3.open_blobs(aws.url(f"s3://{bucket}/some/prefix", **settings), part_bytes=PART_BYTES) as opened:
        yield opened


class TestVersitygw(contract.BlobsContract):
    pass


async def test_a_large_blob_goes_in_parts_and_comes_back_whole(blobs, settings, bucket):
    data = bytes(range(256)) * (3 * PART_BYTES // 256) + b"the end"
    await blobs.put(contract.KEY, data)
    assert await blobs.get(contract.KEY) == data
    async with calling(settings) as calls:
        assert await uploads(calls, bucket) == []


async def test_a_put_whose_answer_was_lost_may_be_repeated(blobs):
    large = b"x" * (PART_BYTES + 1)
    for number, data in enumerate((b"small", large)):
        await blobs.put(f"{contract.KEY}/{number}", data)
        await blobs.put(f"{contract.KEY}/{number}", data)
        assert await blobs.get(f"{contract.KEY}/{number}") == data


async def test_a_blob_is_never_overwritten(blobs):
    await blobs.put(contract.KEY, b"first")
    for other in (b"other", b"x" * (PART_BYTES + 1)):
        with pytest.raises(errors.ConfigurationError, match="Two deployments share the prefix"):
            await blobs.put(contract.KEY, other)
    assert await blobs.get(contract.KEY) == b"first"


async def test_of_racing_puts_of_one_key_one_wins_and_the_others_say_so(blobs):
    done = await asyncio.gather(*(blobs.put(contract.KEY, bytes([n])) for n in range(8)), return_exceptions=True)
    assert done.count(None) == 1
    assert await blobs.get(contract.KEY) == bytes([done.index(None)])


async def test_a_large_put_that_is_given_up_leaves_no_parts(blobs, settings, bucket):
    async with calling(settings) as calls:
        assert await uploads(calls, bucket) == []
        putting = asyncio.create_task(blobs.put(contract.KEY, b"x" * (16 * PART_BYTES)))
        # With a part there, the putter knows the name of its upload: before, nobody could give it up.
        while not await parts(calls, bucket) and not putting.done():
            pass
        putting.cancel()
        await asyncio.wait([putting])
        assert putting.cancelled()
        assert await uploads(calls, bucket) == []
    assert await contract.is_missing(blobs, contract.KEY)


async def test_more_than_a_thousand_are_deleted_in_one_call(blobs):
    names = [f"dep/c/{number}" for number in range(1001)]
    for name in (names[0], names[999], names[1000]):
        await blobs.put(name, b"")
    await blobs.delete([*names, *names])
    assert await contract.keys(blobs, "") == []


async def test_two_prefixes_of_a_bucket_do_not_see_each_other(bucket, settings, blobs):
    await blobs.put("dep/a", b"1")
    for prefix in ("some", "some/prefix2", ""):
        async with s3.open_blobs(aws.url(f"s3://{bucket}/{prefix}", **settings)) as other:
            assert "dep/a" not in await contract.keys(other, "")
            assert await contract.keys(other, "prefix/") == (["prefix/dep/a"] if prefix == "some" else [])


async def test_a_client_puts_a_file_itself_with_what_was_signed_and_nothing_else(blobs):
    async with httpx2.AsyncClient() as client:
        given = await blobs.presigned_upload("dep/c/raw/1", size_bytes=5, expires_seconds=60)
        headers = dict(given.headers)
        for content, changed in ((b"123456", {"Content-Length": "6"}), (b"12345", {"If-None-Match": ""})):
            wrong = await client.request(given.method, given.url, content=content, headers=headers | changed)
            assert wrong.status_code == 403
        right = await client.request(given.method, given.url, content=b"12345", headers=headers)
        again = await client.request(given.method, given.url, content=b"67890", headers=headers)
    assert (right.status_code, again.status_code) == (200, 412)
    assert await blobs.get("dep/c/raw/1") == b"12345"


async def test_an_upload_signature_ends(blobs):
    given = await blobs.presigned_upload("dep/c/raw/1", size_bytes=5, expires_seconds=1)
    await asyncio.sleep(2.1)
    async with httpx2.AsyncClient() as client:
        late = await client.request(given.method, given.url, content=b"12345", headers=dict(given.headers))
    assert late.status_code == 403


async def test_a_key_of_kms_is_asked_for(bucket, settings):
    async with s3.open_blobs(aws.url(f"s3://{bucket}/p", **settings, kms_key="alias/bloom")) as blobs:
        await blobs.put("dep/a", b"1")
        await blobs.put("dep/b", b"x" * (s3.PART_BYTES + 1))
        assert await blobs.get("dep/a") == b"1"
        given = await blobs.presigned_upload("dep/c", size_bytes=1, expires_seconds=60)
    assert given.headers["x-amz-server-side-encryption"] == "aws:kms"


async def test_a_bucket_that_is_not_there_is_named(settings):
    with pytest.raises(errors.ConfigurationError, match="There is no bucket no-such-bucket"):
        async with s3.open_blobs(aws.url("s3://no-such-bucket/p", **settings)):
            pass


async def test_wrong_credentials_are_refused_at_the_start(bucket, settings, tmp_path):
    file = aws.credentials_file(tmp_path, secret_key="wrong")
    with pytest.raises(errors.ConfigurationError) as refused:
        async with s3.open_blobs(aws.url(f"s3://{bucket}/p", **settings | {"credentials_file": file})):
            pass
    assert refused.value.reason is Reason.CREDENTIALS_REFUSED
    assert "\n" not in refused.value.detail


async def test_an_outage_is_no_reason_not_to_start_and_is_said_at_the_first_use(settings):
    away = settings | {"endpoint": "http://127.0.0.1:1"}
    async with s3.open_blobs(aws.url("s3://bucket-away/p", **away)) as blobs:
        with pytest.raises(errors.TransientError) as raised:
            await blobs.get(contract.KEY)
    assert raised.value.reason is Reason.BLOBS_UNAVAILABLE


@pytest.mark.parametrize("url", ["s3://Bucket/p", "s3://b/p", "s3://bucket/a//b", "s3://bucket/p?owner=me"])
async def test_an_address_that_cannot_be_right_is_refused(url):
    with pytest.raises(errors.ConfigurationError):
        async with s3.open_blobs(url):
            pass


@contextlib.asynccontextmanager
async def calling(settings):
    access = addresses.Access(**settings)
    async with clients.open_calls("s3", access, what="S3", unavailable=Reason.BLOBS_UNAVAILABLE) as calls:
        yield calls


async def uploads(calls, bucket):
    """What was begun in parts and neither completed nor given up."""
    return (await calls.call("list_multipart_uploads", {"Bucket": bucket})).get("Uploads") or []


async def parts(calls, bucket):
    """The parts of uploads that go on."""
    asked = [{"Bucket": bucket, "Key": one["Key"], "UploadId": one["UploadId"]} for one in await uploads(calls, bucket)]
    return [part for each in asked for part in (await calls.call("list_parts", each)).get("Parts") or []]
