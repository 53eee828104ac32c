"""HTTP in front of the account: one request after another on each connection, long polls that a send wakes.

Written on asyncio's protocols, because it is a load double as well: a framework would cost more than the queue.
"""

import asyncio
import contextlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bloomweaver.ports import clock as clocks
from bloomweaver.testing.sqs_wire import account as accounts
from bloomweaver.testing.sqs_wire import faults

_HEAD_END = b"\r\n\r\n"
_LONGEST_BYTES = 4 * 1024 * 1024


class Double:
    """The running server. calls: how often each action was called. refused: codes for whole actions, by name."""

    def __init__(self, *, clock: clocks.Clock, seed: int = 0) -> None:
        self.dice = faults.Dice(seed=seed)
        self.account = accounts.Account(clock=clock, dice=self.dice)
        self.calls: Counter[str] = Counter()
        self.refused: dict[str, accounts.Refusal] = {}
        self._clock = clock
        self._waiting: defaultdict[str, deque[_Wait]] = defaultdict(deque)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.account.url

    def misbehave(self, misbehaviour: faults.Misbehaviour) -> None:
        """From now on."""
        self.dice.misbehaviour = misbehaviour

    def tick(self) -> None:
        """After the clock was moved by hand: whoever waits looks again."""
        for name in list(self._waiting):
            self._wake(name)

    def handle(self, connection: "_Connection", action: str, body: bytes) -> None:
        """One request; the answer may come later."""
        self.calls[action] += 1
        if self.dice.falls("lose_requests"):
            connection.drop()
            return
        refusal = self._refusal(action)
        try:
            if refusal is not None:
                raise refusal
            request = json.loads(body)
            answer = self.account.act(action, request)
        except accounts.Refusal as refused:
            self._answer(connection, _refused(refused))
            return
        if answer is None:
            self._wait(connection, request)
        else:
            self._answer(connection, _answered(answer))
        while self.account.touched:
            self._wake(self.account.touched.pop())

    def _refusal(self, action: str) -> accounts.Refusal | None:
        if action in self.refused or "*" in self.refused:
            return self.refused.get(action) or self.refused["*"]
        if self.dice.falls("throttle"):
            return accounts.Refusal("RequestThrottled", "Rate exceeded")
        if self.dice.falls("unavailable"):
            return accounts.Refusal("ServiceUnavailable", "try again", status=503)
        return None

    def _answer(self, connection: "_Connection", answer: bytes) -> None:
        if self.dice.falls("lose_answers"):
            connection.drop()
        elif self.dice.falls("slow"):
            after = self.dice.up_to(self.dice.misbehaviour.slow_seconds)
            asyncio.get_running_loop().call_later(after, connection.write, answer)
        else:
            connection.write(answer)

    def _wait(self, connection: "_Connection", request: accounts.Json) -> None:
        wait, name = _Wait(connection, request), str(request["QueueUrl"]).rpartition("/")[2]
        loop = asyncio.get_running_loop()
        wait.timer = loop.call_later(float(request["WaitTimeSeconds"]), self._give_up, wait)
        self._waiting[name].append(wait)
        self._look_again(name)

    def _give_up(self, wait: "_Wait") -> None:
        if not wait.over:
            self._serve(wait, last=True)

    def _wake(self, name: str) -> None:
        """Serve waiting receives, first come first served, until one finds nothing."""
        waiting = self._waiting.get(name)
        while waiting:
            if not waiting[0].over and not self._serve(waiting[0], last=False):
                self._look_again(name)
                return
            waiting.popleft()
        self._waiting.pop(name, None)

    def _look_again(self, name: str) -> None:
        """When the next message becomes visible by itself."""
        queue = self.account.queues.get(name)
        due = queue.messages.next_due() if queue else None
        if due is not None:
            asyncio.get_running_loop().call_later(max(0.0, due - self._clock.monotonic()) + 0.001, self._wake, name)

    def _serve(self, wait: "_Wait", *, last: bool) -> bool:
        try:
            answer = self.account.receive(wait.request, last=last)
        except accounts.Refusal as refused:
            wait.end()
            self._answer(wait.connection, _refused(refused))
            return True
        if answer is None:
            return False
        wait.end()
        self._answer(wait.connection, _answered(answer))
        return True


@dataclass(slots=True, eq=False)
class _Wait:
    """A receive that found nothing yet."""

    connection: "_Connection"
    request: accounts.Json
    timer: asyncio.TimerHandle | None = field(default=None)
    ended: bool = False

    @property
    def over(self) -> bool:
        return self.ended or self.connection.closed

    def end(self) -> None:
        self.ended = True
        if self.timer is not None:
            self.timer.cancel()


class _Connection(asyncio.Protocol):
    def __init__(self, double: Double, connections: "set[_Connection]") -> None:
        self._double = double
        self._connections = connections
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(_HEAD_END)) >= 0:
            action, length = _head(bytes(self._buffer[:end]))
            begin = end + len(_HEAD_END)
            if len(self._buffer) < begin + length:
                break
            body = bytes(self._buffer[begin : begin + length])
            del self._buffer[: begin + length]
            self._double.handle(self, action, body)
        if len(self._buffer) > _LONGEST_BYTES:
            self.drop()

    def write(self, answer: bytes) -> None:
        if not self.closed and self._transport is not None:
            self._transport.write(answer)

    def drop(self) -> None:
        """No answer, and no connection."""
        if self._transport is not None:
            self._transport.abort()


@contextlib.asynccontextmanager
async def serve(*, clock: clocks.Clock, seed: int = 0, port: int = 0) -> AsyncIterator[Double]:
    """A double on a loopback port, 0 for a free one, until the context ends."""
    double, connections = Double(clock=clock, seed=seed), set[_Connection]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(double, connections), "127.0.0.1", port)
    double.account.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield double
    finally:
        server.close()
        for connection in list(connections):
            connection.drop()
        await server.wait_closed()


def _head(head: bytes) -> tuple[str, int]:
    """The action and the length of the body."""
    action, length = "", 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        lowered = name.lower()
        if lowered == b"x-amz-target":
            action = value.strip().decode("ascii").rpartition(".")[2]
        elif lowered == b"content-length":
            length = int(value)
    return action, length


def _answered(answer: accounts.Json) -> bytes:
    body = json.dumps(answer, separators=(",", ":")).encode()
    return _http("200 OK", body)


def _refused(refusal: accounts.Refusal) -> bytes:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.message}).encode()
    return _http(f"{refusal.status} Refused", body, extra=f"x-amzn-query-error: {refusal.old};Sender\r\n")


def _http(status: str, body: bytes, *, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n"
        f"x-amzn-RequestId: double\r\n{extra}\r\n"
    )
    return head.encode("ascii") + body
