"""`sqs://region/prefix`: one standard queue for each of ours, and one more for its dead letters.

Invariants: what `send` returned for is in SQS; a hint goes away only by an ack, or by its eleventh receive, which moves
it to the dead letters (RedrivePolicy). A receive that is given up while SQS may already have handed out hints goes on
behind the scenes and gives them back. Times are SQS's; only a delay above its 15 minutes uses our clock, and such a
hint is put off again when it comes too early.

Counts are SQS's approximations, right within a minute after the last change, and it tells no age: it is 0.
"""

import asyncio
import contextlib
import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any

from bloomweaver.adapters.engines.aws import addresses, clients, failures
from bloomweaver.adapters.queues import sqs_batches, sqs_found, sqs_names, wire
from bloomweaver.domain import errors
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import queues

SHAPE = "sqs://region/prefix, e.g. sqs://eu-central-1/bloom"
OPTIONS = ("kms_key", "fair")

RECEIVE_MOST = 10
WAIT_MOST_SECONDS = 20
WAIT_SLACK_SECONDS = 0.2
"""SQS waits whole seconds: what looking for the queue took must not turn one second into none."""

DELAY_MOST_SECONDS = 900
VISIBILITY_MOST_SECONDS = 12 * 3600
DEAD_AGAIN_SECONDS = 60.0
DEAD_WAIT_SECONDS = 1
MISSING_POLL_SECONDS = 0.5
POLL_SLACK_SECONDS = 10.0
MESSAGE_BYTES = 8192
"""A hint has about 300 bytes, and at most a few times the 512 of a document's id."""

_DUE = "due"
_GROUP = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_ALIVE, _DEAD = "a", "d"


class SqsQueues:
    """See the module's docstring; `close` before the client goes."""

    def __init__(
        self,
        calls: clients.Calls,
        *,
        found: sqs_found.FoundQueues,
        clock: clocks.Clock,
        fair: bool = False,
        dead_again_seconds: float = DEAD_AGAIN_SECONDS,
    ) -> None:
        self._calls = calls
        self._found = found
        self._clock = clock
        self._fair = fair
        self._dead_again_seconds = math.ceil(dead_again_seconds)
        self._batches = sqs_batches.Batches(calls)
        self._strays: set[asyncio.Task[Any]] = set()

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        entries = [self._entry(hint, delay_seconds) for hint in hints]
        if not entries:
            return
        for last in (False, True):
            urls = await self._found.or_made(queue)
            try:
                await self._batches.run("send_message_batch", urls.alive, entries)
                return
            except failures.Refused:  # somebody deleted it: it is made again, as with its first hint
                self._found.forget(queue)
                if last:
                    raise self._found.vanished(queue) from None

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_seconds
        while True:
            left = max(0.0, give_up - loop.time())
            urls = await self._found.existing(queue)
            if urls is not None:
                taken = await self._take(
                    queue, urls, limit=limit, visibility_seconds=visibility_seconds, wait_seconds=left
                )
                if taken:
                    return taken
            left = give_up - loop.time()
            if left <= 0 or (urls is not None and left < 1):
                return []
            if urls is None:
                await asyncio.sleep(min(left, MISSING_POLL_SECONDS))

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        await self._settle(queue, "delete_message_batch", deliveries)

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        if delay_seconds >= VISIBILITY_MOST_SECONDS:
            await self.send(queue, [delivery.hint for delivery in deliveries], delay_seconds=delay_seconds)
            await self.ack(queue, deliveries)
            return
        await self._settle(queue, "change_message_visibility_batch", deliveries, visibility_seconds=delay_seconds)

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        await self._settle(queue, "change_message_visibility_batch", deliveries, visibility_seconds=visibility_seconds)

    async def depths(self) -> dict[str, queues.Depth]:
        return await self._found.depths()

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        urls = await self._found.existing(queue)
        if urls is None or not await self._found.waiting(queue, urls.dead):
            return []
        taken: list[queues.Delivery] = []
        while len(taken) < limit:
            more = await self._poll(
                queue, urls.dead, count=limit - len(taken), visibility_seconds=self._dead_again_seconds,
                wait_seconds=0 if taken else DEAD_WAIT_SECONDS,
            )  # fmt: skip
            if not more:
                break
            taken += [_delivery(hint, message, _DEAD) for hint, message in _decoded(more)]
        return taken

    async def close(self) -> None:
        """Gives up what was given up by its callers; SQS shows it again after its time-out."""
        for task in self._strays:
            task.cancel()
        await asyncio.gather(*self._strays, return_exceptions=True)

    def _entry(self, hint: Hint, delay_seconds: float) -> sqs_batches.Entry:
        body = wire.encode(hint)
        if not body.isascii():  # SQS refuses some characters; escaped, none is left
            body = json.dumps(json.loads(body), separators=(",", ":"))
        if len(body) > MESSAGE_BYTES:
            raise ValueError(f"a hint of {len(body)} bytes: something that is no hint is in it")
        delay = math.ceil(delay_seconds)
        entry: sqs_batches.Entry = {"MessageBody": body, "DelaySeconds": min(delay, DELAY_MOST_SECONDS)}
        if delay > DELAY_MOST_SECONDS:
            due = f"{self._clock.now() + delay_seconds:.3f}"
            entry["MessageAttributes"] = {_DUE: {"DataType": "Number", "StringValue": due}}
        if self._fair:
            entry["MessageGroupId"] = _group(hint.tenant)
        return entry

    async def _take(
        self, queue: str, urls: sqs_found.Urls, *, limit: int, visibility_seconds: float, wait_seconds: float
    ) -> list[queues.Delivery]:
        """Up to `limit`: the first ten are waited for, what is beyond them is asked for at once."""
        visibility = _visibility(visibility_seconds)
        wait = min(WAIT_MOST_SECONDS, math.floor(wait_seconds + WAIT_SLACK_SECONDS))
        count = min(limit, RECEIVE_MOST)
        messages = await self._kept(queue, urls, count=count, visibility_seconds=visibility, wait_seconds=wait)
        rest = limit - RECEIVE_MOST
        if rest > 0 and len(messages) == RECEIVE_MOST:
            more = [
                self._kept(
                    queue, urls, count=min(RECEIVE_MOST, rest - begin), visibility_seconds=visibility, wait_seconds=0
                )
                for begin in range(0, rest, RECEIVE_MOST)
            ]
            messages += [message for part in await asyncio.gather(*more) for message in part]
        early = [message for message in messages if self._is_early(message)]
        if early:
            await self._put_off(queue, early)
        due = [message for message in messages if message not in early] if early else messages
        return [_delivery(hint, message, _ALIVE) for hint, message in _decoded(due)]

    async def _kept(
        self, queue: str, urls: sqs_found.Urls, *, count: int, visibility_seconds: int, wait_seconds: int
    ) -> list[Any]:
        """`_poll`, which outlives its caller: hints that nobody waits for any more are given back at once."""
        poll = asyncio.create_task(
            self._poll(queue, urls.alive, count=count, visibility_seconds=visibility_seconds, wait_seconds=wait_seconds)
        )
        try:
            return await asyncio.shield(poll)
        except asyncio.CancelledError:
            self._stray(self._give_back(queue, poll))
            raise

    async def _poll(self, queue: str, url: str, *, count: int, visibility_seconds: int, wait_seconds: int) -> list[Any]:
        parameters = {
            "QueueUrl": url,
            "MaxNumberOfMessages": min(count, RECEIVE_MOST),
            "VisibilityTimeout": visibility_seconds,
            "WaitTimeSeconds": wait_seconds,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
            "MessageAttributeNames": [_DUE],
        }
        try:
            answer = await self._calls.call(
                "receive_message", parameters, seconds=wait_seconds + POLL_SLACK_SECONDS, expected=sqs_batches.MISSING
            )
        except failures.Refused:
            self._found.forget(queue)
            return []
        found: list[Any] = answer.get("Messages") or []
        return found

    def _stray(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)

    async def _give_back(self, queue: str, poll: "asyncio.Task[list[Any]]") -> None:
        """Where that fails, the visibility time-out gives them back."""
        with contextlib.suppress(errors.BloomWeaverError):
            try:
                messages = await poll
            except asyncio.CancelledError:
                poll.cancel()
                await asyncio.wait([poll])
                raise
            await self.release(queue, [_delivery(hint, message, _ALIVE) for hint, message in _decoded(messages)])

    def _is_early(self, message: Any) -> bool:
        due = message.get("MessageAttributes", {}).get(_DUE, {}).get("StringValue")
        return due is not None and float(due) - self._clock.now() >= 1.0

    async def _put_off(self, queue: str, early: Sequence[Any]) -> None:
        """Sent again for what is left of their delay, and only then removed: their receives never add up."""
        now = self._clock.now()
        for hint, message in _decoded(early):
            left = float(message["MessageAttributes"][_DUE]["StringValue"]) - now
            await self.send(queue, [hint], delay_seconds=left)
            await self.ack(queue, [_delivery(hint, message, _ALIVE)])

    async def _settle(
        self,
        queue: str,
        operation: str,
        deliveries: Sequence[queues.Delivery],
        *,
        visibility_seconds: float | None = None,
    ) -> None:
        """Something about receipts. A receipt that is no longer valid, or whose queue is gone, is ignored."""
        if not deliveries:
            return
        urls = await self._found.existing(queue)
        if urls is None:
            return
        change = {} if visibility_seconds is None else {"VisibilityTimeout": _visibility(visibility_seconds)}
        for url, mark in ((urls.alive, _ALIVE), (urls.dead, _DEAD)):
            entries = [{"ReceiptHandle": handle, **change} for handle in _handles(deliveries, mark)]
            if entries:
                try:
                    await self._batches.run(operation, url, entries, harmless=sqs_batches.STALE)
                except failures.Refused:
                    self._found.forget(queue)


@contextlib.asynccontextmanager
async def open_queues(
    url: str, *, clock: clocks.Clock, dead_again_seconds: float = DEAD_AGAIN_SECONDS
) -> AsyncIterator[SqsQueues]:
    """The queues of a URL, with a client of their own until the context ends."""
    address = addresses.parse(url, shape=SHAPE, options=OPTIONS)
    prefix = sqs_names.check_prefix(address.path)
    access = addresses.in_region(address)
    async with clients.open_calls(
        "sqs",
        access,
        what=f"SQS in {address.host}",
        unavailable=Reason.QUEUE_UNAVAILABLE,
        settings={"parameter_validation": False},  # our own requests, thousands a second
    ) as calls:
        found = sqs_found.FoundQueues(calls, prefix=prefix, clock=clock, kms_key=address.options.get("kms_key"))
        opened = SqsQueues(
            calls,
            found=found,
            clock=clock,
            fair=addresses.flag(address, "fair"),
            dead_again_seconds=dead_again_seconds,
        )
        try:
            yield opened
        finally:
            await opened.close()


def _delivery(hint: Hint, message: Any, mark: str) -> queues.Delivery:
    receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    if mark == _DEAD:  # where the count began anew, it still died of too many
        receives = max(receives, queues.MAX_RECEIVES + 1)
    return queues.Delivery(hint, mark + message["ReceiptHandle"], receives)


def _decoded(messages: Sequence[Any]) -> Iterator[tuple[Hint, Any]]:
    """A message that this release cannot read is left for one that can, or for the dead letters."""
    for message in messages:
        with contextlib.suppress(wire.WireError):
            yield wire.decode(message["Body"]), message


def _handles(deliveries: Collection[queues.Delivery], mark: str) -> list[str]:
    return [delivery.receipt[1:] for delivery in deliveries if delivery.receipt[0] == mark]


def _visibility(seconds: float) -> int:
    return min(VISIBILITY_MOST_SECONDS, math.ceil(seconds))


def _group(tenant: str) -> str:
    """The tenant, or a digest of it where SQS would not take it."""
    return tenant if _GROUP.fullmatch(tenant) else hashlib.sha256(tenant.encode()).hexdigest()
