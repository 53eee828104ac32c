"""SQS: how many batch calls a second the double answers at a depth of 100,000, and what the adapter makes of them.

The double is a process of its own, as in a load test; the first figures are by a client that does nothing but send the
bytes of a call and wait for the answer, the others by the adapter, whose SDK signs and parses.
"""

import asyncio
import contextlib
import json
import pathlib
import signal
import sys
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator

from benchmarks import measuring
from benchmarks import queues as circulating
from bloomweaver.adapters import clock, opening
from bloomweaver.adapters.queues import wire
from bloomweaver.testing.contracts import queues as contract

DEPTHS = (1_000, 100_000)
CONNECTIONS = 8
SECONDS = 5.0


class Caller:
    """One connection; one call after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def call(self, action: str, request: object) -> object:
        body = json.dumps(request).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.{action}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        told = await self._reader.readuntil(b"\r\n\r\n")
        length = int(told.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def double() -> AsyncIterator[tuple[str, int]]:
    """Its address and its process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bloomweaver.testing.sqs_wire", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def batch_calls(url: str, pid: int, *, depth: int) -> tuple[float, float]:
    """Calls of receive, delete and send, ten messages each, while the depth stays."""
    host, _, port = urllib.parse.urlsplit(url).netloc.partition(":")
    callers = [Caller(*await asyncio.open_connection(host, int(port))) for _ in range(CONNECTIONS)]
    created = await callers[0].call("CreateQueue", {"QueueName": f"depth-{depth}"})
    assert isinstance(created, dict)
    queue = {"QueueUrl": created["QueueUrl"]}
    body = wire.encode(contract.hints(1)[0])
    send = {**queue, "Entries": [{"Id": str(number), "MessageBody": body} for number in range(10)]}
    for _ in range(depth // 10):
        await callers[0].call("SendMessageBatch", send)
    calls, end = 0, time.perf_counter() + SECONDS

    async def circulate(caller: Caller) -> None:
        nonlocal calls
        while time.perf_counter() < end:
            found = await caller.call("ReceiveMessage", {**queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600})
            assert isinstance(found, dict)
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(found["Messages"])]
            await caller.call("DeleteMessageBatch", {**queue, "Entries": entries})
            await caller.call("SendMessageBatch", send)
            calls += 3

    began, used = time.perf_counter(), measuring.processor_seconds(pid)
    await asyncio.gather(*map(circulate, callers))
    taken, used = time.perf_counter() - began, measuring.processor_seconds(pid) - used
    for caller in callers:
        caller.close()
    return calls / taken, calls / used


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        credentials = pathlib.Path(folder) / "credentials"
        credentials.write_text("[default]\naws_access_key_id = x\naws_secret_access_key = x\n", encoding="utf-8")
        async with double() as (endpoint, pid):
            for depth in DEPTHS:
                rate, own = await batch_calls(endpoint, pid, depth=depth)
                print(f"double, depth {depth:7,}: {rate:6,.0f} batch calls/s, {own:6,.0f} per processor second")
            settings = urllib.parse.urlencode({"endpoint": endpoint, "credentials_file": str(credentials)})
            url = f"sqs://us-east-1/bench?{settings}"
            async with opening.open_queues(url, clock=clock.SystemClock(), nonces=clock.SystemNonces()) as store:
                for workers in (1, 4, 16):
                    used = time.process_time()
                    rate = await circulating.circulate(store, workers=workers)
                    used = (time.process_time() - used) / circulating.HINTS
                    print(f"adapter, {workers:2} workers: {rate:6,.0f} hints/s, {1 / used:6,.0f} per processor second")


if __name__ == "__main__":
    asyncio.run(main())
