"""Processes whose clocks disagree by hours: what is due is decided by the ledger's clock, whoever asks."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from bloomweaver.adapters import opening
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId

HOURS = 3600.0
QUEUE = "create"


class Skewed:
    """A clock that is wrong by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return time.time() + self._seconds

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
async def stores(postgresql_url: str) -> AsyncIterator[tuple[opening.Store, opening.Store]]:
    """One whose process is two hours ahead, one whose process is two hours behind."""
    async with AsyncExitStack() as stack:
        ahead, behind = [
            await stack.enter_async_context(
                opening.open_store(
                    opening.profile(postgresql_url), clock=Skewed(hours * HOURS), nonces=opening.system_nonces()
                )
            )
            for hours in (2, -2)
        ]
        yield ahead, behind


async def test_a_hint_is_due_and_hidden_for_everybody_at_the_same_time(stores):
    ahead, behind = stores
    hint = Hint(TenantId("default"), CollectionUid("c"), DocumentId("a"), 1)
    await ahead.queues.send(QUEUE, [hint])
    (held,) = await behind.queues.receive(QUEUE, limit=10, visibility_seconds=60.0, wait_seconds=1.0)
    assert held.hint == hint
    assert await ahead.queues.receive(QUEUE, limit=10, visibility_seconds=60.0) == []
    await behind.queues.send(QUEUE, [hint], delay_seconds=600.0)
    assert await ahead.queues.receive(QUEUE, limit=10, visibility_seconds=60.0) == []
    depth = (await ahead.queues.depths())[QUEUE]
    assert (depth.visible, depth.in_flight, depth.delayed) == (0, 1, 1)


async def test_the_ledger_tells_one_time_to_all(stores):
    ahead, behind = stores
    first, second = await ahead.database.healing.now(), await behind.database.healing.now()
    assert abs(first - second) < 60.0
