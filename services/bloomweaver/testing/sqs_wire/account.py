"""The queues of an account, and what each of SQS's actions does to them.

An action takes the request's JSON and gives the answer's, or raises `Refusal`; `ReceiveMessage` gives None where the
caller has to wait. Limits are SQS's own, so that an adapter that oversteps one is caught here.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bloomweaver.ports import clock as clocks
from bloomweaver.testing.sqs_wire import faults, messages

ACCOUNT = "000000000000"
REGION = "us-east-1"
ENTRIES = 10
DELAY_SECONDS = 900
VISIBILITY_SECONDS = 43_200
WAIT_SECONDS = 20
BATCH_BYTES = 1024 * 1024
DEFAULT_VISIBILITY_SECONDS = 30
LISTED = 1000

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Json = dict[str, Any]


class Refusal(Exception):
    """SQS says no: the code of its JSON protocol, and the older one beside it."""

    def __init__(self, code: str, message: str = "", *, old: str | None = None, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.old, self.status = code, message, old or code, status


@dataclass(slots=True, eq=False)
class Queue:
    """A queue with its attributes; `told` is what its counts were when somebody last asked."""

    name: str
    attributes: dict[str, str]
    messages: messages.Messages
    tags: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its name in policies."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    def redrive(self) -> tuple[str, int] | None:
        """Where its dead go, and after how many receives."""
        policy = json.loads(self.attributes.get("RedrivePolicy") or "{}")
        if not policy:
            return None
        return str(policy["deadLetterTargetArn"]).rpartition(":")[2], int(policy["maxReceiveCount"])


class Account:
    """Every queue; `url` is what its queues' addresses begin with."""

    def __init__(self, *, clock: clocks.Clock, dice: faults.Dice) -> None:
        self.url = ""
        self.queues: dict[str, Queue] = {}
        self.touched: set[str] = set()
        self._clock = clock
        self._dice = dice
        self._numbers = itertools.count(1)
        self._actions: Mapping[str, Callable[[Json], Json | None]] = {
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
            "CreateQueue": self._create_queue,
            "DeleteMessageBatch": self._delete_message_batch,
            "DeleteQueue": self._delete_queue,
            "GetQueueAttributes": self._get_queue_attributes,
            "GetQueueUrl": self._get_queue_url,
            "ListQueues": self._list_queues,
            "PurgeQueue": self._purge_queue,
            "ReceiveMessage": self.receive,
            "SendMessageBatch": self._send_message_batch,
            "SetQueueAttributes": self._set_queue_attributes,
        }

    def act(self, action: str, request: Json) -> Json | None:
        """One call. None: nothing is visible, and the request says to wait."""
        if action not in self._actions:
            raise Refusal("UnsupportedOperation", f"the double does not know {action}")
        return self._actions[action](request)

    def receive(self, request: Json, *, last: bool = False) -> Json | None:
        """last: answer now, also with nothing."""
        queue = self._queue(request)
        count = _within(request.get("MaxNumberOfMessages", 1), 1, ENTRIES, "MaxNumberOfMessages")
        wait = _within(request.get("WaitTimeSeconds", 0), 0, WAIT_SECONDS, "WaitTimeSeconds")
        default = queue.attributes.get("VisibilityTimeout", DEFAULT_VISIBILITY_SECONDS)
        visibility = _within(request.get("VisibilityTimeout", default), 0, VISIBILITY_SECONDS, "VisibilityTimeout")
        redrive, now = queue.redrive(), self._clock.monotonic()
        taken = queue.messages.take(
            count, now=now, visibility_seconds=visibility, most_receives=redrive[1] if redrive else None
        )
        if redrive and queue.messages.worn:
            self._bury(queue, redrive[0], now=now)
        if not taken:
            return {} if last or not wait else None
        return {"Messages": [_shown(message) for message in taken]}

    def _bury(self, queue: Queue, target: str, *, now: float) -> None:
        worn, queue.messages.worn = queue.messages.worn, []
        for message in worn:
            if target in self.queues:
                self.queues[target].messages.adopt(message, now=now)
                self.touched.add(target)

    def _queue(self, request: Json) -> Queue:
        return self._named(str(request.get("QueueUrl", "")).rpartition("/")[2])

    def _named(self, name: str) -> Queue:
        if name not in self.queues:
            old = "AWS.SimpleQueueService.NonExistentQueue"
            raise Refusal("QueueDoesNotExist", "The specified queue does not exist.", old=old)
        return self.queues[name]

    def _address(self, name: str) -> str:
        return f"{self.url}/{ACCOUNT}/{name}"

    def _create_queue(self, request: Json) -> Json:
        name, attributes = str(request.get("QueueName", "")), dict(request.get("Attributes") or {})
        if not _NAME.fullmatch(name):
            raise Refusal("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores.")
        known = self.queues.get(name)
        if known is not None and any(known.attributes.get(key) != value for key, value in attributes.items()):
            raise Refusal("QueueNameExists", "It exists with other attributes.", old="QueueAlreadyExists")
        if known is None:
            held = messages.Messages(self._numbers, self._dice)
            self.queues[name] = Queue(name, attributes, held, dict(request.get("tags") or {}))
        return {"QueueUrl": self._address(name)}

    def _delete_queue(self, request: Json) -> Json:
        del self.queues[self._queue(request).name]
        return {}

    def _purge_queue(self, request: Json) -> Json:
        self._queue(request).messages.clear()
        return {}

    def _get_queue_url(self, request: Json) -> Json:
        return {"QueueUrl": self._address(self._named(str(request.get("QueueName", ""))).name)}

    def _list_queues(self, request: Json) -> Json:
        names = sorted(name for name in self.queues if name.startswith(request.get("QueueNamePrefix", "")))
        begin, most = int(request.get("NextToken") or 0), int(request.get("MaxResults") or LISTED)
        answer: Json = {"QueueUrls": [self._address(name) for name in names[begin : begin + most]]}
        if begin + most < len(names):
            answer["NextToken"] = str(begin + most)
        return answer

    def _get_queue_attributes(self, request: Json) -> Json:
        queue = self._queue(request)
        if not queue.told or not self._dice.falls("stale_counts"):
            queue.messages.mature(self._clock.monotonic())
            visible, leased, delayed, _ = queue.messages.counts
            queue.told = {
                "ApproximateNumberOfMessages": str(visible),
                "ApproximateNumberOfMessagesNotVisible": str(leased),
                "ApproximateNumberOfMessagesDelayed": str(delayed),
            }
        known = queue.attributes | queue.told | {"QueueArn": queue.arn}
        wanted = request.get("AttributeNames") or ()
        return {"Attributes": {key: value for key, value in known.items() if key in wanted or "All" in wanted}}

    def _set_queue_attributes(self, request: Json) -> Json:
        self._queue(request).attributes.update(request.get("Attributes") or {})
        return {}

    def _send_message_batch(self, request: Json) -> Json:
        queue, now = self._queue(request), self._clock.monotonic()
        if sum(len(str(entry.get("MessageBody", "")).encode()) for entry in request.get("Entries") or ()) > BATCH_BYTES:
            raise Refusal("BatchRequestTooLong", "more than 1 MiB", old="AWS.SimpleQueueService.BatchRequestTooLong")
        self.touched.add(queue.name)

        def send(entry: Json) -> Json:
            body, attributes = str(entry["MessageBody"]), entry.get("MessageAttributes")
            if not body or _FORBIDDEN.search(body):
                raise Refusal("InvalidMessageContents", "a character that is not allowed")
            delay = _within(entry.get("DelaySeconds", 0), 0, DELAY_SECONDS, "DelaySeconds")
            group = entry.get("MessageGroupId")
            message = queue.messages.add(body, attributes, now=now, delay_seconds=delay, group=group)
            digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
            return {"MessageId": str(message.number), "MD5OfMessageBody": digest}

        return self._each(request, send)

    def _delete_message_batch(self, request: Json) -> Json:
        queue = self._queue(request)

        def delete(entry: Json) -> Json:
            message = _receipt(queue, entry)
            if message is not None:  # an older receipt is taken, and does nothing
                queue.messages.let_go(message)
            return {}

        return self._each(request, delete)

    def _change_visibility_batch(self, request: Json) -> Json:
        queue, now = self._queue(request), self._clock.monotonic()
        queue.messages.mature(now)
        self.touched.add(queue.name)

        def change(entry: Json) -> Json:
            seconds = _within(entry.get("VisibilityTimeout", 0), 0, VISIBILITY_SECONDS, "VisibilityTimeout")
            message = _receipt(queue, entry)
            if message is None or message.state is not messages.State.LEASED:
                raise Refusal("MessageNotInflight", "The specified message isn't in flight.")
            queue.messages.show_after(message, seconds, now=now)
            return {}

        return self._each(request, change)

    def _each(self, request: Json, do: Callable[[Json], Json]) -> Json:
        """What came of each entry; faults of single entries are thrown here."""
        entries = request.get("Entries") or []
        names = [str(entry.get("Id", "")) for entry in entries]
        if not 1 <= len(entries) <= ENTRIES:
            raise Refusal("TooManyEntriesInBatchRequest" if entries else "EmptyBatchRequest", str(len(entries)))
        if len(set(names)) < len(names) or not all(map(_ENTRY_ID.fullmatch, names)):
            raise Refusal("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id.")
        done: list[Json] = []
        failed: list[Json] = []
        for name, entry in zip(names, entries, strict=True):
            fails = self._dice.falls("fail_entries")
            try:
                result = {} if fails and self._dice.half() else do(entry)
            except Refusal as refusal:
                failed.append({"Id": name, "SenderFault": True, "Code": refusal.code, "Message": refusal.message})
                continue
            if fails:
                failed.append({"Id": name, "SenderFault": False, "Code": "InternalError", "Message": "try again"})
            else:
                done.append({"Id": name, **result})
        return {"Successful": done, **({"Failed": failed} if failed else {})}


def _receipt(queue: Queue, entry: Json) -> messages.Message | None:
    try:
        return queue.messages.named(str(entry.get("ReceiptHandle", "")))
    except ValueError:
        raise Refusal("ReceiptHandleIsInvalid", "The input receipt handle is invalid.") from None


def _within(value: Any, least: int, most: int, name: str) -> int:
    if not least <= int(value) <= most:
        raise Refusal("InvalidParameterValue", f"Value {value} for parameter {name} is invalid.")
    return int(value)


def _shown(message: messages.Message) -> Json:
    shown = {
        "MessageId": str(message.number),
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "MD5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "Attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": str(int(message.sent_at * 1000)),
        },
    }
    if message.attributes:
        shown["MessageAttributes"] = message.attributes
    return shown
