"""Documents into a running server: sent on a few connections, then waited for until the last one can be searched."""

import asyncio
import time
from collections.abc import Iterable

from benchmarks import serving, wire

CONNECTIONS = 4
POLL_SECONDS = 0.1
WAITING = "SELECT count(*) FROM document WHERE state IN ('pending', 'indexing', 'updating')"
FAILED = "SELECT count(*) FROM document WHERE state = 'failed'"

Document = tuple[str, str, str]
"""(document id, media type, text)."""


async def send(server: serving.Server, documents: Iterable[Document]) -> int:
    """All of them; how many. RuntimeError where one is not taken."""
    left = iter(documents)
    sent = 0

    async def one() -> None:
        nonlocal sent
        async with wire.connected(serving.HOST, server.port) as connection:
            for name, media_type, text in left:
                event = {"change_type": "upsert", "document_id": name, "media_type": media_type, "text": text}
                answer = await connection.ask(wire.request("POST", "/v1/events", key=server.key, body=event))
                if answer.status != 202:
                    raise RuntimeError(f"{name}: {answer.status}: {answer.body[:300]!r}")
                sent += 1

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return sent


async def until_searchable(server: serving.Server, *, limit_seconds: float = 1800.0) -> None:
    """RuntimeError where a document failed, or where it takes too long."""
    end = time.monotonic() + limit_seconds
    while server.count(WAITING):
        if time.monotonic() > end:
            raise RuntimeError(f"{server.count(WAITING)} documents wait after {limit_seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    if failed := server.count(FAILED):
        raise RuntimeError(f"{failed} documents failed")


async def put(server: serving.Server, connection: wire.Connection, name: str, text: str) -> float:
    """Replace one document and wait until that can be searched; milliseconds from the request to the answer."""
    path = f"/v1/collections/default/documents/{name}?wait=searchable&timeout=60"
    began = time.perf_counter()
    body = {"text": text}
    while True:
        answer = await connection.ask(wire.request("PUT", path, key=server.key, body=body))
        if answer.status == 200 and answer.json()["state"] == "searchable":
            return (time.perf_counter() - began) * 1000
        if answer.status != 202:
            raise RuntimeError(f"{name}: {answer.status}: {answer.body[:300]!r}")
