"""A connection of the HTTP server, with an end to everything that its client may draw out.

The server bounds how long a connection stands idle between requests, and the routes how long a body may take. What is
left is bounded here: the time until a whole head has come (from the first byte, and from the connection's beginning),
its bytes, the time for which a client does not take its answer, and how many connections there are at once. Invariant:
at every moment a timer runs, or one of our routes is at work, or the server waits for the next request.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http import httptools_impl

from bloomweaver.runtime import context

HEAD_SECONDS: Final = 10.0
HEAD_BYTES: Final = 64 * 1024
ANSWER_SECONDS: Final = 30.0
"""For which a client may leave an answer lying."""
MAX_CONNECTIONS: Final = 10_000

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # no route has it
)


class Connection(httptools_impl.HttpToolsProtocol):
    """See the module's docstring."""

    head_seconds = HEAD_SECONDS
    answer_seconds = ANSWER_SECONDS
    max_connections = MAX_CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._head_bytes: int | None = 0
        """Bytes of the head that is coming; None while none is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server has it
        """A client is there, unless there are too many."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.max_connections:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._end(self._head_timer)
        self._end(self._answer_timer)

    def data_received(self, data: bytes) -> None:
        """Some bytes, of a head, of a body, or of nothing in particular."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()
        # What comes after an answer (a body that nobody wants, empty lines) stops the server's timer of idleness.
        idle = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # at first it is None
        if idle and self.timeout_keep_alive_task is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._await_head()

    def on_headers_complete(self) -> None:
        """The last one."""
        self._head_bytes = None
        self._end(self._head_timer)
        self._head_timer = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The last byte of a body; that of a small one comes before its request is looked at."""
        super().on_message_complete()
        self.cycle.scope[context.WHOLE_BODY_KEY] = True  # type: ignore[typeddict-unknown-key]  # for our layers

    def pause_writing(self) -> None:
        """The client does not take what is written."""
        super().pause_writing()
        self._end(self._answer_timer)
        self._answer_timer = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._end(self._answer_timer)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    @staticmethod
    def _end(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
