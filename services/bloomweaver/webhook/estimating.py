"""What a re-index would take, before it begins: documents, chunks, bytes of vectors, time and money, as far as known.

Tokens are extrapolated from a sample of the collection, chunks from them: at least one a document. Time is that of one
pod, at the speed that pods of the space have measured of themselves.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bloomweaver.domain import pricing
from bloomweaver.domain.documents import Chunking
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.ports import ledger

SAMPLE_DOCUMENTS: Final = 500
BYTES_PER_TOKEN: Final = 4
BYTES_PER_NUMBER: Final = 4

Speed = Callable[[str], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a collection would go. priced_as: the model's name where it is paid for by the token; empty elsewhere."""

    space: str
    dimension: int
    chunking: Chunking
    priced_as: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """By the list price."""

    amount: float
    price: pricing.Price


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left of a re-index. seconds: of one pod; None while no pod of the space has measured itself. cost: None
    where no price is known."""

    documents: int
    tokens: int
    chunks: int
    vector_bytes: int
    seconds: int | None
    cost: Cost | None


async def unknown_speed(_: str) -> int:
    """Where nobody measures."""
    return 0


class Estimator:
    """speed: chunks a second of one pod of a space, 0 while nobody knows."""

    def __init__(self, ledger: ledger.Ledger, *, speed: Speed = unknown_speed) -> None:
        self._ledger = ledger
        self._speed = speed

    async def of(self, uid: CollectionUid, *, documents: int, target: Target) -> Estimate:
        """For so many documents of a collection."""
        tokens, chunks = await self._sampled(uid, documents, target.chunking)
        speed = await self._speed(target.space)
        price = pricing.PRICES.get(target.priced_as)
        return Estimate(
            documents=documents,
            tokens=tokens,
            chunks=chunks,
            vector_bytes=chunks * target.dimension * BYTES_PER_NUMBER,
            seconds=-(-chunks // speed) if speed else None,
            cost=None if price is None else Cost(pricing.cost_of(price, tokens=tokens), price),
        )

    async def _sampled(self, uid: CollectionUid, documents: int, chunking: Chunking) -> tuple[int, int]:
        listing = ledger.Listing(uid, limit=SAMPLE_DOCUMENTS)
        sample = [
            revision.tokens if revision.tokens is not None else revision.content.size_bytes // BYTES_PER_TOKEN
            for _, revision in await self._ledger.documents(listing)
            if revision.content is not None
        ]
        if not sample:
            return 0, 0
        step = max(1, chunking.max_tokens - chunking.overlap_tokens)
        pieces = sum(max(1, -(-(tokens - chunking.overlap_tokens) // step)) for tokens in sample)
        return round(documents * sum(sample) / len(sample)), round(documents * pieces / len(sample))
