"""How far vectors of a cheaper arithmetic may be from the exact ones before they may stand in an index.

The gate is here and nowhere else: whoever measures and whoever loads decide by the same figures.
"""

from dataclasses import dataclass
from typing import Final

LEAST_COSINE_P1: Final = 0.98
MOST_RANKING_LOSS: Final = 0.01
LEAST_TEXTS: Final = 100
LEAST_QUERIES: Final = 30
"""Below these a percentile and a ranking say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What was measured against fp32, with exact queries on both sides.

    cosine_p1: of the same text in both, the first percentile. ndcg_exact, ndcg: at 10, of headings as queries for the
    texts below them.
    """

    texts: int
    queries: int
    cosine_mean: float
    cosine_p1: float
    ndcg_exact: float
    ndcg: float

    @property
    def ranking_loss(self) -> float:
        """The part of nDCG@10 that is lost; below 0 where nothing is."""
        return 1 - self.ndcg / self.ndcg_exact if self.ndcg_exact else 0.0

    def faults(self) -> list[str]:
        """What keeps it from being admitted; empty where nothing does."""
        found = []
        if self.texts < LEAST_TEXTS or self.queries < LEAST_QUERIES:
            found.append(
                f"{self.texts} texts and {self.queries} headings are too few to judge by: "
                f"it takes {LEAST_TEXTS} and {LEAST_QUERIES}"
            )
        if not self.cosine_p1 >= LEAST_COSINE_P1:
            found.append(f"the first percentile of cosines is {self.cosine_p1:.4f}, below {LEAST_COSINE_P1}")
        if not self.ranking_loss <= MOST_RANKING_LOSS:
            found.append(f"the loss in ranking is {self.ranking_loss:.2%}, above {MOST_RANKING_LOSS:.0%}")
        return found
