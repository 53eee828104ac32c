"""The queues' promises while the double does what SQS may do: nothing is lost, whatever comes twice, late or never."""

import dataclasses
import random

import pytest

from bloomweaver.adapters.queues import sqs
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues as ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import queues as contract
from bloomweaver.testing.sqs_wire import faults, server
from tests.support import aws

FAULTS = [field.name for field in dataclasses.fields(faults.Misbehaviour) if not field.name.endswith("_seconds")]
OFTEN = 0.25
COUNT = 40


@pytest.fixture
def time():
    return clocks.ManualClock()


@pytest.fixture
async def double(time):
    async with server.serve(clock=time, seed=7) as served:
        yield served


@pytest.fixture
async def queues(double, time, tmp_path):
    url = aws.url("sqs://us-east-1/bloom", endpoint=double.url, credentials_file=aws.credentials_file(tmp_path))
    async with sqs.open_queues(url, clock=time) as opened:
        yield opened


async def insist(call):
    """What a caller does: it tries again while the queue is away."""
    for _ in range(50):
        try:
            return await call()
        except errors.TransientError as error:
            if error.reason is not Reason.QUEUE_UNAVAILABLE:
                raise
    raise AssertionError("50 attempts in a row failed")


async def send(queues, hints):
    for start in range(0, len(hints), 10):
        await insist(lambda batch=hints[start : start + 10]: queues.send("create", batch))


async def drain(queues, time, wanted):
    """Receive and ack as a worker does, until all that is wanted came; gives how often each came."""
    came = dict.fromkeys(wanted, 0)
    for _ in range(400):
        if all(came.values()):
            return came
        found = await insist(lambda: contract.take(queues, queue="create"))
        for delivery in found:
            came[delivery.hint] += 1
        await insist(lambda batch=found: queues.ack("create", batch))
        time.advance(2.0)
    raise AssertionError(f"{sum(not count for count in came.values())} hints never came")


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_under_one_fault(queues, double, time, fault):
    await send(queues, contract.hints(1))
    double.misbehave(faults.Misbehaviour(**{fault: OFTEN}))
    await send(queues, contract.hints(COUNT))
    await insist(queues.depths)
    await drain(queues, time, contract.hints(COUNT))
    for _ in range(20 if fault == "stale_counts" else 0):
        await queues.depths()
    assert double.dice.happened[fault] > 0, "the test saw none of it"


async def test_nothing_is_lost_under_all_faults_and_all_is_gone_in_the_end(queues, double, time):
    double.misbehave(faults.Misbehaviour(**dict.fromkeys(FAULTS, 0.08)))
    await send(queues, contract.hints(COUNT))
    await drain(queues, time, contract.hints(COUNT))
    double.misbehave(faults.Misbehaviour())
    for _ in range(30):
        time.advance(contract.VISIBILITY_SECONDS + 1)
        await queues.ack("create", await contract.take(queues, queue="create"))
    assert await contract.depth(queues, "create") == ports.Depth()
    assert len(double.dice.happened) >= 7


async def test_only_the_entries_that_failed_are_sent_again(queues, double):
    await queues.send("create", contract.hints(1))
    double.misbehave(faults.Misbehaviour(fail_entries=0.15))
    await queues.send("create", contract.hints(10, first=1))
    held = len(double.account.queues["bloom_create"].messages.held)
    failed = double.dice.happened["fail_entries"]
    assert failed > 0
    assert 11 <= held <= 11 + failed, "what had succeeded was sent twice"


async def test_entries_that_always_fail_are_an_outage(queues, double):
    await queues.send("create", contract.hints(1))
    double.misbehave(faults.Misbehaviour(fail_entries=1.0))
    with pytest.raises(errors.TransientError, match=r"failed 3 of 3 entries of a batch, 4 times \(InternalError\)"):
        await queues.send("create", contract.hints(3))


async def test_the_same_seed_gives_the_same_faults():
    def thrown(seed):
        dice = faults.Dice(seed=seed, misbehaviour=faults.Misbehaviour(throttle=0.5, slow=0.5))
        return [dice.falls("throttle" if turn % 2 else "slow") for turn in range(64)]

    assert thrown(3) == thrown(3)
    assert thrown(3) != thrown(random.Random(3).randrange(4, 100))
