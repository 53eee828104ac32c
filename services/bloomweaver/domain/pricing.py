"""What embedding services ask for, as far as they publish it: list prices without discounts, so that a cost is a guess.

A model that runs on one's own machines has no price here; what those cost, nobody here knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CURRENCY: Final = "USD"
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in CURRENCY. source: where it was read. as_of: when, as year and month."""

    per_million_tokens: float
    source: str
    as_of: str


_OPENAI: Final = "OpenAI's price list"
_BEDROCK: Final = "Amazon Bedrock's price list, on demand, us-east-1"

PRICES: Final[Mapping[str, Price]] = MappingProxyType(
    {
        "text-embedding-3-small": Price(0.02, _OPENAI, "2026-05"),
        "text-embedding-3-large": Price(0.13, _OPENAI, "2026-05"),
        "text-embedding-ada-002": Price(0.10, _OPENAI, "2026-05"),
        "amazon.titan-embed-text-v2:0": Price(0.02, _BEDROCK, "2025-12"),
        "cohere.embed-english-v3": Price(0.10, _BEDROCK, "2025-12"),
        "cohere.embed-multilingual-v3": Price(0.10, _BEDROCK, "2025-12"),
    }
)


def cost_of(price: Price, *, tokens: int) -> float:
    """To the cent, rounded up: nothing is free."""
    return -(-tokens * round(price.per_million_tokens * 100) // MILLION) / 100
