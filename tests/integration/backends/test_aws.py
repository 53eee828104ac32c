"""The pipeline with its queues in SQS and its blobs in S3, while SQS does what it is allowed to do."""

import dataclasses
import itertools

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.blobs import s3
from bloomweaver.adapters.engines.aws import addresses, clients
from bloomweaver.adapters.queues import sqs
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.sqs_wire import faults, server
from tests.support import aws, pipelines

BUCKETS = itertools.count(1)
ODD = faults.Misbehaviour(duplicate=0.2, reorder=0.3, fail_entries=0.1, stale_counts=0.3)


@pytest.fixture
async def double():
    async with server.serve(clock=clock.SystemClock(), seed=3) as served:
        yield served


@pytest.fixture
async def queues(double, tmp_path):
    url = aws.url("sqs://us-east-1/bloom", endpoint=double.url, credentials_file=aws.credentials_file(tmp_path))
    async with sqs.open_queues(url, clock=clock.SystemClock()) as opened:
        yield opened


@pytest.fixture
async def blobs(versitygw_server):
    file = versitygw_server.env["AWS_SHARED_CREDENTIALS_FILE"]
    settings = {"region": "us-east-1", "endpoint": versitygw_server.url, "credentials_file": file}
    bucket = f"pipeline-{next(BUCKETS)}"
    async with clients.open_calls(
        "s3", addresses.Access(**settings), what="S3", unavailable=Reason.BLOBS_UNAVAILABLE
    ) as calls:
        await calls.call("create_bucket", {"Bucket": bucket})
    async with s3.open_blobs(aws.url(f"s3://{bucket}/prod", **settings)) as opened:
        yield opened


@pytest.fixture
async def pipe(queues, blobs):
    def wrap(store):
        return dataclasses.replace(store, queues=queues, blobs=blobs)

    async with pipelines.opened(wrap=wrap) as opened:
        yield opened


async def test_what_was_sent_is_found_and_what_was_deleted_is_not(pipe, double, blobs):
    double.misbehave(ODD)
    texts = {f"doc-{number}": f"apples and number {number}" for number in range(8)}
    for name, text in texts.items():
        await pipe.put(name, text)
    await pipe.put("large", "pears " * 12_000)
    await pipe.settle()
    assert [await pipe.find(text, limit=1) for text in texts.values()] == [[name] for name in texts]
    await pipe.delete("doc-0")
    await pipe.put("doc-1", "plums instead")
    await pipe.settle()
    assert await pipe.find("plums instead", limit=1) == ["doc-1"]
    assert "doc-0" not in await pipe.find(texts["doc-0"])
    assert sum(double.dice.happened.values()) > 0, "the test saw none of it"
    kinds = {blob.key.split("/")[2] async for blob in blobs.list("")}
    assert kinds == {"raw", "processed"}
