"""One DynamoDB table behind several ports: consistent reads, conditional writes, transactions that are all or nothing.

Invariants: every read that is not from an index is strongly consistent; a transaction whose answer was lost is sent
again under its own token, so that it happens once; a write that others were in the way of raises `Conflict`, and its
decision is taken anew from a fresh read (`Engine.decided`). The SDK's errors do not leave here.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bloomweaver.adapters.engines.aws import clients, failures
from bloomweaver.adapters.engines.dynamodb import items, keys, sequences, timing
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks

CALL_SECONDS = 10.0
ATTEMPTS = 4
DECISIONS = 40
"""How often a decision is taken anew because others were in the way."""

DECIDED_WITHIN_SECONDS = 20.0
GET_AT_ONCE = 100
PUT_AT_ONCE = 25
TOGETHER = 32
"""Calls of one request that are under way at the same time."""

_RACES = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
_INVALID = "ValidationException"
_CANCELLED = ("TransactionCanceledException", _INVALID)
_UNMET = "ConditionalCheckFailedException"
_LOST = (_UNMET, "TransactionConflictException")

T = TypeVar("T")
Attributes = dict[str, Any]


class Conflict(Exception):
    """What was read has changed: decide again."""


class Engine:
    """What the adapters on DynamoDB build on. `nonces` is here for them.

    patience: how many times as long as usual calls and decisions may take, for a double on a busy machine.
    """

    def __init__(
        self,
        calls: clients.Calls,
        table: str,
        *,
        clock: timing.ServiceClock | clocks.Clock,
        nonces: clocks.Nonces,
        patience: int = 1,
    ) -> None:
        self.patience = patience
        self.table = table
        self.nonces = nonces
        self.clock = clock
        self.calls = calls
        self.tally_offset = int(nonces.secret(1)[0]) * keys.SHARDS % keys.TALLIES
        self.sequence = sequences.Sequence(self._lease, monotonic=clock.monotonic)
        self._locks: dict[tuple[str, int], tuple[asyncio.Lock, int]] = {}

    def now(self) -> float:
        """The ledger's time."""
        return self.clock.now()

    async def call(self, operation: str, parameters: Mapping[str, Any], *, expected: Iterable[str] = ()) -> Attributes:
        """One operation on the table, repeated within its seconds where that may help."""
        clock = self.clock
        sent_at = clock.here() if isinstance(clock, timing.ServiceClock) else 0.0
        answer = await self.calls.call(
            operation,
            parameters,
            seconds=CALL_SECONDS * self.patience,
            attempts=ATTEMPTS,
            expected=tuple(expected),
        )
        if isinstance(clock, timing.ServiceClock):
            date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
            clock.observe(date, sent_at=sent_at, received_at=clock.here())
        return answer

    async def get(self, names: Sequence[keys.Key], *, only: Sequence[str] = ()) -> list[items.Item | None]:
        """The items of these keys, in order. only: these attributes, beside the key."""
        distinct = list(dict.fromkeys(names))
        pages = [distinct[at : at + GET_AT_ONCE] for at in range(0, len(distinct), GET_AT_ONCE)]
        found: dict[keys.Key, items.Item] = {}
        for page in await self.together([self._page(page, only) for page in pages]):
            found |= page
        return [found.get(name) for name in names]

    async def _page(self, names: Sequence[keys.Key], only: Sequence[str]) -> dict[keys.Key, items.Item]:
        request: Attributes = {"Keys": [items.named(name) for name in names], "ConsistentRead": True}
        request |= _projection(only)
        found: dict[keys.Key, items.Item] = {}
        wanted: Attributes = {self.table: request}
        async for _ in self._paced("reading"):
            answer = await self.call("batch_get_item", {"RequestItems": wanted})
            found |= {items.key_of(item): item for item in answer["Responses"].get(self.table, ())}
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                break
        return found

    async def one(self, name: keys.Key) -> items.Item | None:
        """The item of a key."""
        (found,) = await self.get([name])
        return found

    async def page(
        self,
        pk: str,
        *,
        begins: str = "",
        after: str = "",
        limit: int | None = None,
        only: Sequence[str] = (),
        state: str | None = None,
    ) -> tuple[list[items.Item], str | None]:
        """Items of a partition by sort key, and the key to go on after; None at the end.

        begins: what sort keys begin with. after: only greater ones. state: rows in that state alone.
        """
        condition, values = "pk = :pk", {":pk": items.text(pk)}
        request: Attributes = {"TableName": self.table, "ConsistentRead": True} | _projection(only)
        if begins:
            condition, values[":sk"] = "pk = :pk AND begins_with(sk, :sk)", items.text(begins)
        if after > begins:
            if not after.startswith(begins):
                return [], None
            request["ExclusiveStartKey"] = items.named((pk, after))
        request |= {"KeyConditionExpression": condition, "ExpressionAttributeValues": values}
        if state is not None:
            values[":state"] = items.text(state)
            request["FilterExpression"] = "#state = :state"
            request["ExpressionAttributeNames"] = {**request.get("ExpressionAttributeNames", {}), "#state": "state"}
        if limit is not None:
            request["Limit"] = limit
        answer = await self.call("query", request)
        last = answer.get("LastEvaluatedKey")
        return answer["Items"], None if last is None else str(last["sk"]["S"])

    async def all(self, pk: str, *, begins: str = "", only: Sequence[str] = ()) -> list[items.Item]:
        """Every item of a partition, or of what begins so in it."""
        found: list[items.Item] = []
        after: str | None = ""
        while after is not None:
            page, after = await self.page(pk, begins=begins, after=after, only=only)
            found += page
        return found

    async def index(
        self,
        name: str,
        partition: str,
        *,
        limit: int,
        upto: float | None = None,
        above: float | None = None,
        filtered: tuple[str, Mapping[str, Any]] | None = None,
    ) -> list[keys.Key]:
        """Keys of rows by an index, from the lowest on. It lags a little: whoever acts reads the row itself first."""
        hashed, ranged = keys.INDEXES[name]
        condition, values = "#h = :h", {":h": items.text(partition)}
        names = {"#h": hashed}
        if upto is not None or above is not None:
            names["#r"] = ranged
            condition += " AND #r <= :r" if upto is not None else " AND #r > :r"
            values[":r"] = items.number(upto if upto is not None else above or 0.0)
        request: Attributes = {"TableName": self.table, "IndexName": name, "KeyConditionExpression": condition}
        request |= {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
        if filtered is None:
            request["Limit"] = limit
        else:
            request["FilterExpression"] = filtered[0]
            values |= filtered[1]
        found: list[keys.Key] = []
        while len(found) < limit:
            answer = await self.call("query", request)
            found += [items.key_of(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found[:limit]

    async def write(self, writes: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
        """All of them or none: each is {"Put" | "Update" | "Delete" | "ConditionCheck": …} without the table's name."""
        named = [{kind: {"TableName": self.table, **what} for kind, what in write.items()} for write in writes]
        request = {"TransactItems": named, "ClientRequestToken": self.nonces.nonce()[:36]}
        async for _ in self._paced("writing"):
            try:
                await self.call("transact_write_items", request, expected=_CANCELLED)
                return
            except failures.Refused as refused:
                self._check_cancelled(refused)

    def _check_cancelled(self, refused: failures.Refused) -> None:
        """Returns where it may be sent again."""
        codes = {reason.get("Code", "None") for reason in refused.response.get("CancellationReasons", ())}
        if codes & _RACES:
            raise Conflict from refused
        told = str(refused.response.get("Error", {}).get("Message", ""))
        if "ValidationError" in codes or (refused.code == _INVALID and "size" in told):
            detail = f"{self.calls.what}: the document does not fit an item of 400 kB, or its build a transaction."
            raise errors.PermanentError(Reason.TOO_LARGE, detail) from refused
        if not any(failures.throttles(f"{code}Exception") or code == "ThrottlingError" for code in codes):
            detail = f"{self.calls.what} cancelled a transaction ({', '.join(sorted(codes - {'None'})) or told})."
            raise errors.TransientError(Reason.LEDGER_UNAVAILABLE, detail) from refused

    async def update(
        self,
        name: keys.Key,
        expression: str,
        values: Mapping[str, Any] | None = None,
        *,
        names: Mapping[str, str] | None = None,
        condition: str | None = None,
    ) -> items.Item:
        """One item changed in place; its attributes afterwards. Only what may happen twice."""
        request: Attributes = {"TableName": self.table, "Key": items.named(name), "UpdateExpression": expression}
        request["ReturnValues"] = "ALL_NEW"
        optional = {
            "ExpressionAttributeValues": values,
            "ExpressionAttributeNames": names,
            "ConditionExpression": condition,
        }
        request |= {option: value for option, value in optional.items() if value}
        answer: Attributes = {}
        async for _ in self._paced("writing"):
            try:
                answer = await self.call("update_item", request, expected=_LOST)
                break
            except failures.Refused as refused:
                if refused.code == _UNMET:
                    raise Conflict from refused  # the other is a transaction under way: it does not take long
        changed: items.Item = answer["Attributes"]
        return changed

    async def put_many(self, made: Sequence[Mapping[str, Any]]) -> None:
        """Items that no transaction needs: each is there when this returns, one by one."""
        await self._batches([{"PutRequest": {"Item": dict(item)}} for item in made])

    async def delete_many(self, names: Sequence[keys.Key]) -> None:
        """Gone when this returns, one by one."""
        await self._batches([{"DeleteRequest": {"Key": items.named(name)}} for name in dict.fromkeys(names)])

    async def _batches(self, requests: Sequence[Attributes]) -> None:
        pages = [requests[at : at + PUT_AT_ONCE] for at in range(0, len(requests), PUT_AT_ONCE)]
        await self.together([self._batch(page) for page in pages])

    async def _batch(self, requests: Sequence[Attributes]) -> None:
        wanted: Attributes = {self.table: list(requests)}
        async for _ in self._paced("writing"):
            answer = await self.call("batch_write_item", {"RequestItems": wanted})
            wanted = answer.get("UnprocessedItems") or {}
            if not wanted:
                return

    async def _paced(self, doing: str) -> AsyncIterator[int]:
        """Attempts with pauses, for what the service did only in part."""
        for attempt in range(ATTEMPTS * 2):
            if attempt:
                await asyncio.sleep(clients.pause_seconds(min(attempt, 4)))
            yield attempt
        detail = f"{self.calls.what} throttles {doing}."
        raise errors.TransientError(Reason.LEDGER_UNAVAILABLE, detail, retry_after_seconds=2.0)

    async def decided(
        self, attempt: Callable[[], Awaitable[T]], *, within_seconds: float = DECIDED_WITHIN_SECONDS
    ) -> T:
        """The attempt's answer; it is made again for as long as others are in its way, which is not long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds * self.patience):
                for number in range(DECISIONS * self.patience):
                    try:
                        return await attempt()
                    except Conflict:
                        # Longer each time, and never the same for two processes.
                        longest = min(0.2, 0.005 * 2 ** min(number, 6))
                        await asyncio.sleep(random.uniform(0.0, longest))  # noqa: S311  # it spreads retries
        detail = f"{self.calls.what}: too many change the same documents at once."
        raise errors.TransientError(Reason.LEDGER_UNAVAILABLE, detail)

    @contextlib.asynccontextmanager
    async def turn(self, uid: str, document_id: str) -> AsyncIterator[None]:
        """One change at a time of one shard in this process: it would only be in its own way."""
        name = (uid, keys.shard_of(document_id))
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            users = self._locks[name][1] - 1
            if users:
                self._locks[name] = lock, users
            else:
                del self._locks[name]

    async def together(self, work: Sequence[Awaitable[T]]) -> list[T]:
        """All answers, in order; where some fail, the first error, after all have ended."""
        if len(work) == 1:
            return [await work[0]]
        room = asyncio.Semaphore(TOGETHER)

        async def bounded(one: Awaitable[T]) -> T:
            async with room:
                return await one

        answers = await asyncio.gather(*(bounded(one) for one in work), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _lease(self, count: int) -> tuple[int, int]:
        """(epoch, last number of the block)."""
        item = await self.update(
            keys.DEPLOYMENT,
            "SET epoch = if_not_exists(epoch, :one) ADD #counter :count",
            {":one": items.number(1), ":count": items.number(count)},
            names={"#counter": "counter"},
        )
        return items.integer(item, "epoch"), items.integer(item, "counter")


def _projection(only: Sequence[str]) -> Attributes:
    """Only these attributes; by other names, because some of theirs are words of the expressions' language."""
    if not only:
        return {}
    names = {f"#{name}": name for name in ("pk", "sk", *only)}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
