"""SQS's adapter against the double, whose time is ours, and against ElasticMQ, whose time passes."""

import asyncio
import itertools

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.queues import sqs
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import queues as contract
from bloomweaver.testing.sqs_wire import server
from tests.support import aws, scaled

PREFIXES = itertools.count(1)
SCALE = 1 / 10
"""ElasticMQ's time passes for real: a minute of the contract takes six seconds, so that a busy machine may lose one."""


@pytest.fixture
def time():
    return clocks.ManualClock()


@pytest.fixture
async def double(time):
    async with server.serve(clock=time, seed=1) as served:
        yield served


@pytest.fixture
def url(double, tmp_path):
    return aws.url("sqs://us-east-1/bloom", endpoint=double.url, credentials_file=aws.credentials_file(tmp_path))


@pytest.fixture
async def queues(url, time):
    async with sqs.open_queues(url, clock=time) as opened:
        yield opened


@pytest.fixture
def pass_time(time, double):
    async def pass_time(seconds):
        time.advance(seconds)
        double.tick()

    return pass_time


class TestDouble(contract.QueuesContract):
    tells_age = False


class TestElasticMQ(contract.QueuesContract):
    tells_age = False

    @pytest.fixture
    async def queues(self, elasticmq_server, tmp_path):
        file = aws.credentials_file(tmp_path)
        url = aws.url(f"sqs://us-east-1/t{next(PREFIXES)}", endpoint=elasticmq_server.url, credentials_file=file)
        dead_again = sqs.DEAD_AGAIN_SECONDS * SCALE
        async with sqs.open_queues(url, clock=clock.SystemClock(), dead_again_seconds=dead_again) as opened:
            yield scaled.ScaledQueues(opened, scale=SCALE)

    @pytest.fixture
    def pass_time(self):
        async def pass_time(seconds):
            await asyncio.sleep(seconds * SCALE)

        return pass_time
