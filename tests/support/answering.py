"""A web server on loopback that gives every request the same answer, and remembers the requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Answering:
    """more: headers of the answer. port: where it listens. heads: the requests' lines and headers as they came."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    more: dict[str, str] = field(default_factory=dict)
    port: int = 0
    heads: list[str] = field(default_factory=list)
    connections: dict[asyncio.Task[object], asyncio.StreamWriter] = field(default_factory=dict)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request; or none, where the client goes or the server ends before it came."""
        task = asyncio.current_task()
        assert task is not None
        self.connections[task] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._answer(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.close()
            del self.connections[task]

    async def end(self) -> None:
        """Nothing is left open that a collector would find later, in another test."""
        for _ in range(3):
            await asyncio.sleep(0)  # what was accepted just now begins
        for writer in self.connections.values():
            writer.transport.abort()
        if self.connections:
            await asyncio.wait(list(self.connections))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        sized = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
        if sized:
            await reader.readexactly(int(sized[0].partition(":")[2]))
        told = {
            "content-type": self.content_type,
            "connection": "close",
            "content-length": str(len(self.body)),
            **self.more,
        }
        lines = [f"HTTP/1.1 {self.status} Answer", *(f"{name}: {value}" for name, value in told.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head.startswith("HEAD ") else self.body))
        await writer.drain()


@contextlib.asynccontextmanager
async def answering(
    status: int = 200, body: bytes = b"{}", content_type: str = "application/json", **more: str
) -> AsyncIterator[Answering]:
    """Listens until the context ends. more: headers, with _ for -."""
    given = Answering(status, body, content_type, {name.replace("_", "-"): value for name, value in more.items()})
    server = await asyncio.start_server(given.answer, "127.0.0.1", 0)
    given.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield given
        finally:
            server.close()
            await given.end()
