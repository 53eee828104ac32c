"""What a cheaper arithmetic costs: cosines against the exact vectors, and rankings by nDCG@10.

Rankings are compared query by query, so the bootstrap is paired: most of what differs between queries cancels out.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bloomweaver.domain import drift, models
from bloomweaver.encoding import batcher
from bloomweaver.ports import embedders
from bloomweaver.workbench import samples

DEPTH: Final = 10
_QUERIES_AT_ONCE: Final = 512

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of one model: its samples' and its questions'."""

    documents: embedders.Vectors
    queries: embedders.Vectors


async def vectors_of(
    embedder: embedders.Embedder, found: Sequence[samples.Sample], asked: Sequence[samples.Question]
) -> Vectors:
    """Everything embedded through the batcher, as a service would."""
    async with batcher.Batcher(embedder) as encoder:
        documents, queries = await asyncio.gather(
            encoder.encode([sample.passage for sample in found], kind=models.Kind.DOCUMENT),
            encoder.encode_texts([question.text for question in asked], kind=models.Kind.QUERY),
        )
    for encoded in (documents, queries):
        for error in encoded.failures.values():
            raise error
    return Vectors(documents.vectors, queries.vectors)


def ndcg(queries: embedders.Vectors, documents: embedders.Vectors, asked: Sequence[samples.Question]) -> Scores:
    """nDCG@10 of each question, by cosine over all documents."""
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    found = np.zeros(len(asked))
    for start in range(0, len(asked), _QUERIES_AT_ONCE):
        scores = queries[start : start + _QUERIES_AT_ONCE] @ documents.T
        depth = min(DEPTH, scores.shape[1])
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        for row, candidates in enumerate(best):
            # Equal scores rank by place, so that two runs rank alike.
            ranked = candidates[np.lexsort((candidates, -scores[row, candidates]))]
            answers = asked[start + row].answers
            gains = np.array([index in answers for index in ranked.tolist()], np.float64)
            ideal = discounts[: min(len(answers), DEPTH)].sum()
            found[start + row] = float(gains @ discounts[:depth]) / ideal
    return found


def drift_of(exact: Vectors, cheaper: embedders.Vectors, asked: Sequence[samples.Question]) -> drift.Drift:
    """The cheaper documents beside the exact ones, for exact queries."""
    cosines = (exact.documents.astype(np.float64) * cheaper).sum(axis=1)
    before, after = ndcg(exact.queries, exact.documents, asked), ndcg(exact.queries, cheaper, asked)
    return drift.Drift(
        texts=len(cosines),
        queries=len(asked),
        cosine_mean=float(cosines.mean()),
        cosine_p1=float(np.percentile(cosines, 1)),
        ndcg_exact=float(before.mean()) if asked else 0.0,
        ndcg=float(after.mean()) if asked else 0.0,
    )


def loss_bound(before: Scores, after: Scores, *, rounds: int = 2000, seed: int = 7) -> tuple[float, float]:
    """(relative loss, its upper bound that holds in 95 of 100): a bootstrap over the queries, paired."""
    dice = np.random.default_rng(seed)
    lost = []
    for _ in range(rounds):
        drawn = dice.integers(0, len(before), len(before))
        lost.append(1 - after[drawn].mean() / before[drawn].mean())
    return 1 - float(after.mean() / before.mean()), float(np.percentile(lost, 95))
