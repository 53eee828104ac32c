"""HTTP/1.1 by hand, so that a load generator beside the server takes little of the processor.

One request at a time per connection, kept alive. Answers must carry Content-Length, as all of ours do.
"""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection; `ask` sends and waits for the whole answer."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[Answer] | None = None
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the methods without the base class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head = received.find(END)
        if head < 0:
            return
        at = received[:head].lower().find(LENGTH)
        size = int(received[at + len(LENGTH) : received.index(b"\r\n", at)]) if at >= 0 else 0
        if len(received) < head + len(END) + size:
            return
        self._received = b""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(int(received[9:12]), received[head + len(END) :]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server hung up"))

    def ask(self, message: bytes) -> asyncio.Future[Answer]:
        """Send a whole request; the future of its answer."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return self._waiting

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def request(method: str, path: str, *, key: str = "", body: Mapping[str, object] | None = None) -> bytes:
    """The bytes of a request; a body goes as JSON."""
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    if key:
        head.append(f"Authorization: Bearer {key}")
    if body is not None:
        head.append("Content-Type: application/json")
    return "\r\n".join([*head, "", ""]).encode() + content


@contextlib.asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Connection]:
    """Open a connection, close it at the end."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    try:
        yield connection
    finally:
        connection.close()
