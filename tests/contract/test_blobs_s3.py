"""S3's adapter against versitygw, and against answers that no server here would give."""

import asyncio
import itertools

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
