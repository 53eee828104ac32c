"""Clients that are slow, endless or too many, over real sockets: none holds a place for long, none fills the memory."""

import asyncio
import contextlib
import resource
import socket
import time

import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.runtime import connections, serving
from bloomweaver.runtime.web import answers, limits, paths
from tests.support import web

SOON_SECONDS = 120
LIMIT_BYTES = 1_000_000
LARGE_BYTES = 30_000_000


class Hasty(connections.Connection):
    """With less patience than it has in earnest."""

    head_seconds = 0.5
    answer_seconds = 0.5


class Few(connections.Connection):
    """Patient with who only connects: on a busy machine a handful of connections takes its time."""

    answer_seconds = 0.5
    max_connections = 5

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.timeout_keep_alive = SOON_SECONDS


@pytest.fixture
def protocol():
    return Hasty


@pytest.fixture
async def port(protocol):
    """Of a server with one route that reads a body, and one whose answer is large."""
    router = paths.router()

    @router.post("/v1/body")
    async def take(request: Request) -> Response:
        body = await limits.read_body(request, limit_bytes=LIMIT_BYTES, idle_seconds=0.5)
        return answers.as_json({"bytes": len(body)})

    @router.get("/v1/large")
    async def give(request: Request) -> Response:
        return Response(b"x" * LARGE_BYTES)

    stack = web.stack(router)
    key = stack.keys.add()
    server = serving.server_of(stack.app)
    server.config.http = protocol
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.answer(listener))
        yield Port(listener.getsockname()[1], key.secret)
        await server.drained()
        await task


class Port:
    """Where the server is, and a key for it."""

    def __init__(self, number, secret):
        self.number = number
        self.head = f"Host: x\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n".encode()

    @contextlib.asynccontextmanager
    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ended(self, sent, *, drip=b""):
        """What comes back until the server ends the connection, and after how long; drip: sent again and again."""
        began = time.monotonic()
        async with self.client() as (reader, writer):
            writer.write(sent)

            async def dripping():
                with contextlib.suppress(OSError):
                    while drip:
                        writer.write(drip)
                        await writer.drain()
                        await asyncio.sleep(0.05)

            task = asyncio.create_task(dripping())
            async with asyncio.timeout(SOON_SECONDS):
                with contextlib.suppress(ConnectionError):
                    got = await reader.read(100_000)
                    while await reader.read(100_000):
                        pass
            task.cancel()
        return got if "got" in locals() else b"", time.monotonic() - began


async def test_who_connects_and_says_nothing_is_sent_away(port):
    assert (await port.ended(b""))[0] == b""


async def test_a_head_that_never_ends_is_cut_off_by_time_and_by_size(port):
    started = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    answer, seconds = await port.ended(started, drip=b"A: b\r\n")
    assert answer == b""
    assert seconds >= 0.5
    answer, _ = await port.ended(started + b"A: " + b"b" * connections.HEAD_BYTES * 2)
    assert b" 431 " in answer or answer == b""


async def test_the_head_of_a_second_request_has_no_more_time_than_the_first(port):
    answer, _ = await port.ended(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal", drip=b"t")
    assert b" 200 " in answer


async def test_a_body_that_stops_and_one_that_drips_end_in_408(port):
    begun = b"POST /v1/body HTTP/1.1\r\n" + port.head + b"Content-Length: 100000\r\n\r\n"
    for drip in (b"", b"x"):
        answer, _ = await port.ended(begun, drip=drip)
        assert b" 408 " in answer, drip


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 400000000\r\n"])
async def test_a_body_over_the_limit_is_refused_and_not_kept(port, framing):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunk = b"x" * 1_000_000
    drip = b"%x\r\n%s\r\n" % (len(chunk), chunk) if b"chunked" in framing else chunk
    answer, _ = await port.ended(b"POST /v1/body HTTP/1.1\r\n" + port.head + framing + b"\r\n", drip=drip)
    assert b" 413 " in answer
    grown_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown_bytes < 40 * LIMIT_BYTES


@pytest.mark.parametrize("protocol", [Few])
async def test_an_answer_that_nobody_takes_is_given_up(port):
    async with port.client() as (reader, writer):
        writer.transport.pause_reading()
        writer.write(b"GET /v1/large HTTP/1.1\r\n" + port.head + b"\r\n")
        async with asyncio.timeout(SOON_SECONDS):
            while await opened(port) < Few.max_connections:
                pass
        writer.transport.resume_reading()
        taken_bytes = 0
        with contextlib.suppress(ConnectionError):
            while found := await reader.read(1_000_000):
                taken_bytes += len(found)
        assert taken_bytes < LARGE_BYTES, "what was not sent yet never comes"


@pytest.mark.parametrize("protocol", [Few])
async def test_no_more_connections_are_kept_than_there_may_be(port):
    assert await opened(port) == Few.max_connections
    async with asyncio.timeout(SOON_SECONDS):  # those that ended leave their place
        while await opened(port) < Few.max_connections:
            pass


async def opened(port):
    """How many more connections are answered at once."""
    asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with contextlib.AsyncExitStack() as stack:
        answered = 0
        for _ in range(Few.max_connections + 2):
            reader, writer = await stack.enter_async_context(port.client())
            writer.write(asked)
            with contextlib.suppress(ConnectionError):
                answered += bool(await reader.read(10))
        return answered
