import asyncio
import json

from starlette import requests

from bloomweaver.webhook import envelopes


async def ticks_while_parsing(body: bytes) -> int:
    """How often somebody else had a turn while the body was read."""
    request = requests.Request({"type": "http", "headers": []})
    ticks = 0

    async def others() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    task = asyncio.create_task(others())
    envelope = await envelopes.parse(request, envelopes.JSON, body, origin=envelopes.Origin())
    task.cancel()
    assert all(item.refusal is None for item in envelope.items)
    return ticks


def events(count: int) -> bytes:
    one = {"change_type": "upsert", "document_id": "a", "text": "x" * 10_000}
    return json.dumps([one] * count).encode()


async def test_a_large_body_is_read_beside_the_work_of_others():
    assert await ticks_while_parsing(events(150)) > 0


async def test_a_small_body_is_read_at_once():
    assert await ticks_while_parsing(events(1)) == 0
