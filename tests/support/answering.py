"""A web server on loopback that gives every request the same answer, and remembers the requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Answering:
    """port: where it listens. heads: the requests' first lines and headers, as they came."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    port: int = 0
    heads: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        sized = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
        if sized:
            await reader.readexactly(int(sized[0].partition(":")[2]))
        start = f"HTTP/1.1 {self.status} Answer\r\ncontent-type: {self.content_type}\r\nconnection: close\r\n"
        writer.write(f"{start}content-length: {len(self.body)}\r\n\r\n".encode() + self.body)
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def answering(
    status: int = 200, body: bytes = b"{}", content_type: str = "application/json"
) -> AsyncIterator[Answering]:
    """Listens until the context ends."""
    given = Answering(status, body, content_type)
    server = await asyncio.start_server(given.answer, "127.0.0.1", 0)
    given.port = server.sockets[0].getsockname()[1]
    async with server:
        yield given
