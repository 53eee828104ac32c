"""Which queues there are in SQS: found by name, made with the first hint, counted for depths.

Invariants: a queue is used only when it has dead letters behind it, since without them a hint that crashes its reader
comes back for ever; what is made is encrypted, tagged, and keeps hints for days (queue) and two weeks (dead letters).
Every process may make queues; making one twice gives the same one.
"""

import asyncio
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

from bloomweaver.adapters.engines.aws import clients, failures
from bloomweaver.adapters.queues import sqs_batches, sqs_names
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import queues

KEPT_SECONDS = 4 * 86400
DEAD_KEPT_SECONDS = 14 * 86400
"""A dead letter's age counts from when it was first sent, so its queue has to keep longer."""

VISIBILITY_SECONDS = 60
LISTED_AGAIN_SECONDS = 30.0
DELETED_AGAIN_SECONDS = 60.0
KMS_KEY_REUSE_SECONDS = 3600

_EXISTS = ("QueueAlreadyExists", "QueueNameExists")
_DELETED = ("AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently")
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a queue is, and where its dead letters are."""

    alive: str
    dead: str


class FoundQueues:
    """Remembers what it found; `forget` where a call says that it is gone."""

    def __init__(self, calls: clients.Calls, *, prefix: str, clock: clocks.Clock, kms_key: str | None = None) -> None:
        self._calls = calls
        self._prefix = prefix
        self._clock = clock
        self._kms_key = kms_key
        self._known: dict[str, Urls] = {}
        self._looking = asyncio.Lock()
        self._listed: tuple[float, frozenset[str]] | None = None

    async def existing(self, queue: str) -> Urls | None:
        """None where there is no such queue yet."""
        if queue not in self._known:
            async with self._looking:
                if queue not in self._known:
                    found = await self._look(queue)
                    if found is None:
                        return None
                    self._known[queue] = found
        return self._known[queue]

    async def or_made(self, queue: str) -> Urls:
        """The queue, which comes into being now if nobody made it before."""
        found = await self.existing(queue)
        if found is not None:
            return found
        async with self._looking:
            if queue not in self._known:
                await self._make(queue)
                made = await self._look(queue)
                if made is None:
                    raise self.vanished(queue)
                self._known[queue] = made
            return self._known[queue]

    def forget(self, queue: str) -> None:
        """Look again at the next call."""
        self._known.pop(queue, None)
        self._listed = None

    def vanished(self, queue: str) -> errors.TransientError:
        """For a queue that is deleted faster than it is made, or not shown yet."""
        detail = f"{self._calls.what} has no queue {sqs_names.name_of(self._prefix, queue)} right after it was made."
        return errors.TransientError(Reason.QUEUE_UNAVAILABLE, detail)

    async def depths(self) -> dict[str, queues.Depth]:
        """Of every queue below the prefix; those that nobody counts as ours, or that are gone, are left out."""
        names = sorted(await self._names() | self._known.keys())
        counted = await asyncio.gather(*(self._depth(name) for name in names))
        return {name: depth for name, depth in zip(names, counted, strict=True) if depth is not None}

    async def waiting(self, queue: str, url: str) -> int:
        """About how many messages could be received there now."""
        counts = await self._counts(queue, url)
        return counts[0] if counts else 0

    async def _depth(self, queue: str) -> queues.Depth | None:
        urls = await self.existing(queue)
        if urls is None:
            return None
        alive, dead = await asyncio.gather(self._counts(queue, urls.alive), self._counts(queue, urls.dead))
        if alive is None or dead is None:
            return None
        visible, in_flight, delayed = alive
        age = None if visible else 0.0  # SQS tells no ages
        return queues.Depth(visible, in_flight, delayed, sum(dead), age)

    async def _counts(self, queue: str, url: str) -> tuple[int, int, int] | None:
        try:
            found = await self._attributes(url, *_COUNTS)
        except failures.Refused:
            self.forget(queue)
            return None
        visible, in_flight, delayed = (int(found.get(name, 0)) for name in _COUNTS)
        return visible, in_flight, delayed

    async def _names(self) -> frozenset[str]:
        now = self._clock.monotonic()
        if self._listed is None or now - self._listed[0] > LISTED_AGAIN_SECONDS:
            names: set[str] = set()
            page: dict[str, Any] = {"QueueNamePrefix": f"{self._prefix}_", "MaxResults": 1000}
            while True:
                answer = await self._calls.call("list_queues", page)
                ours = (sqs_names.queue_of(self._prefix, _last(url)) for url in answer.get("QueueUrls") or ())
                names.update(queue for queue in ours if queue is not None)
                if not answer.get("NextToken"):
                    break
                page["NextToken"] = answer["NextToken"]
            self._listed = (now, frozenset(names))
        return self._listed[1]

    async def _look(self, queue: str) -> Urls | None:
        name = sqs_names.name_of(self._prefix, queue)
        try:
            url = (await self._calls.call("get_queue_url", {"QueueName": name}, expected=sqs_batches.MISSING))[
                "QueueUrl"
            ]
            policy = json.loads((await self._attributes(url, "RedrivePolicy")).get("RedrivePolicy", "{}"))
        except failures.Refused:
            return None
        target = str(policy.get("deadLetterTargetArn", ""))
        if int(policy.get("maxReceiveCount", 0)) != queues.MAX_RECEIVES or not target:
            detail = (
                f"The queue {name} has no dead-letter queue after {queues.MAX_RECEIVES} receives. Set its "
                f"RedrivePolicy to maxReceiveCount {queues.MAX_RECEIVES}, or delete it: it is made with its next hint."
            )
            raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
        return Urls(alive=url, dead=f"{url.rpartition('/')[0]}/{target.rpartition(':')[2]}")

    async def _make(self, queue: str) -> None:
        name = sqs_names.name_of(self._prefix, queue)
        dead = await self._created(name + sqs_names.DEAD, queue, {"MessageRetentionPeriod": str(DEAD_KEPT_SECONDS)})
        target = (await self._attributes(dead, "QueueArn"))["QueueArn"]
        policy = {"deadLetterTargetArn": target, "maxReceiveCount": queues.MAX_RECEIVES}
        attributes = {
            "MessageRetentionPeriod": str(KEPT_SECONDS),
            "VisibilityTimeout": str(VISIBILITY_SECONDS),
            "RedrivePolicy": json.dumps(policy),
        }
        await self._created(name, queue, attributes)
        self._listed = None

    async def _created(self, name: str, queue: str, attributes: dict[str, str]) -> str:
        parameters = {
            "QueueName": name,
            "Attributes": attributes | self._encryption(),
            "tags": {"app": "bloomweaver", "queue": queue},
        }
        try:
            return str((await self._calls.call("create_queue", parameters, expected=(*_EXISTS, *_DELETED)))["QueueUrl"])
        except failures.Refused as refused:
            if refused.code in _DELETED:
                detail = f"The queue {name} was deleted; SQS allows a new one of that name a minute later."
                raise errors.TransientError(
                    Reason.QUEUE_UNAVAILABLE, detail, retry_after_seconds=DELETED_AGAIN_SECONDS
                ) from refused
        # Somebody made it with other attributes, and they are respected.
        return str((await self._calls.call("get_queue_url", {"QueueName": name}))["QueueUrl"])

    def _encryption(self) -> dict[str, str]:
        if self._kms_key is None:
            return {"SqsManagedSseEnabled": "true"}
        return {"KmsMasterKeyId": self._kms_key, "KmsDataKeyReusePeriodSeconds": str(KMS_KEY_REUSE_SECONDS)}

    async def _attributes(self, url: str, *names: str) -> dict[str, str]:
        parameters = {"QueueUrl": url, "AttributeNames": list(names)}
        answer = await self._calls.call("get_queue_attributes", parameters, expected=sqs_batches.MISSING)
        found: dict[str, str] = answer.get("Attributes") or {}
        return found


def _last(url: str) -> str:
    return urllib.parse.unquote(url.rpartition("/")[2])
