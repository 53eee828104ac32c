"""SQS's adapter against the double, whose time is ours, and against ElasticMQ, whose time passes."""

import pytest

from bloomweaver.adapters.queues import sqs
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import queues as contract
from bloomweaver.testing.sqs_wire import server
from tests.support import aws


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
