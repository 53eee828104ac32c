"""What SQS's adapter does beyond the port: what it makes, what it repairs, and whom it tells what is wrong."""

import asyncio
import dataclasses
import json

import pytest

from bloomweaver.adapters.queues import sqs
from bloomweaver.domain import errors
from bloomweaver.domain.identity import DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import queues as contract
from bloomweaver.testing.sqs_wire import account, faults, server
from tests.support import aws, running


@pytest.fixture
def time():
    return clocks.ManualClock()


@pytest.fixture
async def double(time):
    async with server.serve(clock=time, seed=1) as served:
        yield served


@pytest.fixture
def url_of(double, tmp_path):
    def url_of(prefix="bloom", **settings):
        file = aws.credentials_file(tmp_path)
        return aws.url(f"sqs://us-east-1/{prefix}", **{"endpoint": double.url, "credentials_file": file} | settings)

    return url_of


@pytest.fixture
async def queues(url_of, time):
    async with sqs.open_queues(url_of(), clock=time) as opened:
        yield opened


async def test_a_queue_is_made_with_encryption_tags_and_dead_letters(double, queues):
    await queues.send(contract.QUEUE, contract.hints(1))
    made, dead = (double.account.queues[f"bloom_change__space-1{end}"] for end in ("", "_dlq"))
    assert json.loads(made.attributes["RedrivePolicy"]) == {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 10}
    assert made.attributes["SqsManagedSseEnabled"] == dead.attributes["SqsManagedSseEnabled"] == "true"
    assert int(made.attributes["MessageRetentionPeriod"]) < int(dead.attributes["MessageRetentionPeriod"])
    assert made.tags == dead.tags == {"app": "bloomweaver", "queue": contract.QUEUE}


async def test_a_key_of_kms_and_the_tenant_as_group_are_used_where_the_url_says_so(double, url_of, time):
    async with sqs.open_queues(url_of(kms_key="alias/bloom", fair="true"), clock=time) as queues:
        odd = dataclasses.replace(contract.hints(1)[0], tenant=TenantId("größe"))
        await queues.send("create", [*contract.hints(1), odd])
    made = double.account.queues["bloom_create"]
    assert made.attributes["KmsMasterKeyId"] == "alias/bloom"
    assert "SqsManagedSseEnabled" not in made.attributes
    groups = [message.group for message in made.messages.held.values()]
    assert groups[0] == "acme"
    assert len(groups[1]) == 64


async def test_processes_that_make_a_queue_at_once_make_one(double, url_of, time):
    async with sqs.open_queues(url_of(), clock=time) as one, sqs.open_queues(url_of(), clock=time) as other:
        await asyncio.gather(*(each.send("create", contract.hints(1)) for each in (one, other)))
        assert len(await contract.take(one, queue="create")) == 2
    assert sorted(double.account.queues) == ["bloom_create", "bloom_create_dlq"]


async def test_a_queue_that_somebody_made_with_dead_letters_elsewhere_is_used(double, queues):
    double.account.act("CreateQueue", {"QueueName": "graveyard"})
    policy = {"deadLetterTargetArn": double.account.queues["graveyard"].arn, "maxReceiveCount": "10"}
    double.account.act(
        "CreateQueue", {"QueueName": "bloom_create", "Attributes": {"RedrivePolicy": json.dumps(policy)}}
    )
    await queues.send("create", contract.hints(1))
    for _ in range(11):
        await queues.release("create", await contract.take(queues, queue="create"))
    assert [delivery.hint for delivery in await queues.dead("create", limit=5)] == contract.hints(1)


async def test_a_queue_without_dead_letters_is_named(double, queues):
    double.account.act("CreateQueue", {"QueueName": "bloom_create"})
    with pytest.raises(errors.ConfigurationError, match="bloom_create has no dead-letter queue after 10 receives"):
        await queues.send("create", contract.hints(1))


async def test_a_queue_that_was_deleted_is_made_again_with_its_next_hint(double, queues):
    await queues.send("create", contract.hints(3))
    (held, *_) = await contract.take(queues, queue="create", limit=1)
    for name in list(double.account.queues):
        del double.account.queues[name]
    assert await contract.take(queues, queue="create") == []
    await queues.ack("create", [held])
    assert await queues.depths() == {}
    await queues.send("create", contract.hints(1))
    assert [delivery.hint for delivery in await contract.take(queues, queue="create")] == contract.hints(1)


async def test_a_queue_that_was_purged_is_empty_and_works(double, queues):
    await queues.send("create", contract.hints(3))
    held = await contract.take(queues, queue="create", limit=1)
    double.account.queues["bloom_create"].messages.clear()
    await queues.release("create", held)
    await queues.extend("create", held, visibility_seconds=10)
    assert await contract.take(queues, queue="create") == []


async def test_a_name_that_is_blocked_after_a_delete_is_said_to_come_back(double, queues):
    double.refused["CreateQueue"] = account.Refusal("QueueDeletedRecently", "wait 60 seconds")
    with pytest.raises(errors.TransientError, match="a minute later") as raised:
        await queues.send("create", contract.hints(1))
    assert raised.value.retry_after_seconds == 60


async def test_a_delay_beyond_what_sqs_allows_is_kept(time, double, queues):
    await queues.send("create", contract.hints(1), delay_seconds=2000.0)
    for passed in (890, 20, 880, 20, 185):
        time.advance(passed)
        assert await contract.take(queues, queue="create") == []
    time.advance(10)
    (found,) = await contract.take(queues, queue="create")
    assert (found.hint, found.receives) == (contract.hints(1)[0], 1)
    await queues.release("create", [found], delay_seconds=13 * 3600)
    time.advance(12 * 3600)
    assert await contract.take(queues, queue="create") == []


async def test_more_than_ten_are_sent_and_received_in_one_call(double, queues):
    await queues.send("create", contract.hints(25))
    found = await queues.receive("create", limit=25, visibility_seconds=30)
    assert {delivery.hint for delivery in found} == set(contract.hints(25))
    assert double.calls["SendMessageBatch"] == 3
    assert double.calls["ReceiveMessage"] == 3


async def test_characters_that_sqs_refuses_arrive(queues):
    odd = dataclasses.replace(contract.hints(1)[0], document_id=DocumentId("a\ufffe\uffff😀"))
    await queues.send("create", [odd])
    assert [delivery.hint for delivery in await contract.take(queues, queue="create")] == [odd]


async def test_what_is_no_hint_is_never_sent(queues):
    text = dataclasses.replace(contract.hints(1)[0], document_id=DocumentId("x" * 10_000))
    with pytest.raises(ValueError, match="that is no hint"):
        await queues.send("create", [text])


async def test_a_message_that_nobody_can_read_ends_with_the_dead_letters(time, double, queues):
    await queues.send("create", contract.hints(1))
    (sent,) = double.account.queues["bloom_create"].messages.held.values()
    sent.body = '{"v":99}'
    for _ in range(11):
        assert await contract.take(queues, queue="create") == []
        time.advance(contract.VISIBILITY_SECONDS + 1)
    assert (await contract.depth(queues, "create")).dead == 1
    assert await queues.dead("create", limit=5) == []


async def test_a_neighbour_with_a_longer_prefix_is_not_seen(queues, url_of, time):
    async with sqs.open_queues(url_of("bloom-2"), clock=time) as neighbour:
        await neighbour.send("create", contract.hints(1))
        assert list(await neighbour.depths()) == ["create"]
    assert await queues.depths() == {}


async def test_a_hint_that_arrives_for_a_receive_that_was_given_up_comes_back_at_once(double, queues):
    await queues.send("create", contract.hints(1))
    double.misbehave(faults.Misbehaviour(slow=1.0, slow_seconds=3.0))
    receiving = asyncio.create_task(contract.take(queues, queue="create"))
    await running.eventually(lambda: double.calls["ReceiveMessage"])
    receiving.cancel()
    await asyncio.wait([receiving])
    double.misbehave(faults.Misbehaviour())
    found = await queues.receive("create", limit=1, visibility_seconds=600, wait_seconds=60)
    assert [(delivery.hint, delivery.receives) for delivery in found] == [(contract.hints(1)[0], 2)]


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "AccessDenied"])
async def test_credentials_that_are_refused_are_a_matter_of_configuration(double, queues, code):
    double.refused["*"] = account.Refusal(code, "not you", status=403)
    for call in (queues.send("create", contract.hints(1)), contract.take(queues, queue="create"), queues.depths()):
        with pytest.raises(errors.ConfigurationError) as refused:
            await call
        assert refused.value.reason is Reason.CREDENTIALS_REFUSED


async def test_a_credentials_file_that_is_not_there_is_named(url_of, time, tmp_path):
    async with sqs.open_queues(url_of(credentials_file=str(tmp_path / "none")), clock=time) as queues:
        with pytest.raises(errors.ConfigurationError, match="there are no credentials"):
            await queues.send("create", contract.hints(1))


async def test_a_key_that_cannot_be_used_is_a_matter_of_configuration(double, queues):
    double.refused["SendMessageBatch"] = account.Refusal("KmsDisabled", "the key is disabled")
    with pytest.raises(errors.ConfigurationError, match="KMS key cannot be used"):
        await queues.send("create", contract.hints(1))


async def test_nobody_there_is_an_outage(url_of, time):
    async with sqs.open_queues(url_of(endpoint="http://127.0.0.1:1"), clock=time) as queues:
        with pytest.raises(errors.TransientError) as raised:
            await queues.send("create", contract.hints(1))
    assert raised.value.reason is Reason.QUEUE_UNAVAILABLE
