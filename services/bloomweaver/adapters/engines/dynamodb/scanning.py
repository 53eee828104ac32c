"""Rows of a whole collection, in the order of their document ids, from its SHARDS partitions at once."""

import heapq
from collections.abc import AsyncIterator

from bloomweaver.adapters.engines.dynamodb import engine, items, keys
from bloomweaver.domain.identity import CollectionUid

PAGE = 200
"""Rows that a whole scan reads of a partition at a time."""


async def ordered(
    opened: engine.Engine,
    uid: CollectionUid,
    *,
    after: str = "",
    prefix: str = "",
    state: str | None = None,
    expected: int = PAGE,
) -> AsyncIterator[items.Item]:
    """Merged. expected: how many the caller will take, so that no more is read than that is likely to need."""
    size = max(4, min(PAGE, -(-2 * expected // keys.SHARDS)))
    # Consistent reads of partitions that each come in order: a heap of their first unread rows is the order of all.
    heads: list[tuple[str, int]] = []
    pages: list[list[items.Item]] = [[] for _ in range(keys.SHARDS)]
    cursors: list[str | None] = [after] * keys.SHARDS

    async def refill(shard: int) -> None:
        while not pages[shard] and (cursor := cursors[shard]) is not None:
            page, cursors[shard] = await opened.page(
                keys.rows(uid, shard), begins=prefix, after=cursor, limit=size, state=state
            )
            pages[shard] = page[::-1]
        if pages[shard]:
            heapq.heappush(heads, (pages[shard][-1]["sk"]["S"], shard))

    await opened.together([refill(shard) for shard in range(keys.SHARDS)])
    while heads:
        _, shard = heapq.heappop(heads)
        yield pages[shard].pop()
        await refill(shard)


async def some(opened: engine.Engine, uid: CollectionUid, *, after: str = "", limit: int) -> list[items.Item]:
    """The first `limit` rows."""
    found: list[items.Item] = []
    async for item in ordered(opened, uid, after=after, expected=limit):
        found.append(item)
        if len(found) == limit:
            break
    return found


async def partition(opened: engine.Engine, uid: CollectionUid, number: int) -> AsyncIterator[items.Item]:
    """All rows of one partition."""
    after: str | None = ""
    while after is not None:
        page, after = await opened.page(keys.rows(uid, number), after=after)
        for item in page:
            yield item
