"""Chunks in SQLite: a build's have the ids `bid << 20 | index`, one range, in order."""

from bloomweaver.adapters.engines import rows
from bloomweaver.domain.documents import ChunkRow

INDEX_BITS = 20
INDEX_MASK = (1 << INDEX_BITS) - 1
COLUMNS = f"id & {INDEX_MASK}, {rows.CHUNK_BESIDE_INDEX}"


def values(bid: int, chunk: ChunkRow) -> rows.Record:
    """For the table `chunk`."""
    number = bid << INDEX_BITS | chunk.index
    heading = rows.heading_json(chunk.heading)
    return (number, chunk.kind, chunk.hash, chunk.start, chunk.end, heading, chunk.page, chunk.text)
