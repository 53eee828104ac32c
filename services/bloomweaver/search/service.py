"""Search believes the row: candidates come from the vector store, what is shown is decided by the ledger afterwards.

Filter late and strongly (R10), run again when a candidate flipped meanwhile or the store lagged, and refuse when in
doubt (R11). Invariants: no hit of a deleted document, no mix of two versions, no answer without the ledger.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bloomweaver.domain import filters, identity, models
from bloomweaver.domain.documents import Collection, DocumentKey, Pipeline, Row
from bloomweaver.domain.errors import Refusal, TransientError
from bloomweaver.domain.events import Hint, Lane
from bloomweaver.domain.identity import CollectionUid, DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import batcher
from bloomweaver.ports import embedders, ledger, queues, vectors

TRIES = 4
RETRY_PAUSE_SECONDS = 0.02
OVERSAMPLING = 2
RANK_CONSTANT = 60.0
SCORE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Question:
    """A search. collections: those that the caller may read and meant. where: the request's and the key's filter."""

    query: str
    collections: tuple[Collection, ...]
    limit: int = 10
    where: filters.Filter | None = None
    min_score: float | None = None
    group_by_document: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk that is shown, with the revision that it came from."""

    collection: str
    score: float
    chunk: ledger.ShownChunk


@dataclass(frozen=True, slots=True)
class Answer:
    """The best hits. truncated: more may match than could be looked at."""

    hits: tuple[Hit, ...]
    models: tuple[str, ...]
    truncated: bool


@dataclass(slots=True)
class Counters:
    """What searches had to do, for metrics and the simulator."""

    searches: int = 0
    retries: int = 0
    refusals: int = 0
    dropped: int = 0


class QueryEncoder(Protocol):
    """Turns a query into a vector of one space; TransientError(EMBEDDER_UNAVAILABLE) for a space it cannot."""

    async def encode_query(self, query: str, *, space: str, model: str) -> embedders.Vectors:
        """One vector of unit norm."""
        ...


class BatchedQueries:
    """Queries through the batchers of this process, on their own lane, so that none waits for a cold pod."""

    def __init__(self, batchers: Mapping[str, batcher.Batcher]) -> None:
        self._batchers = batchers

    async def encode_query(self, query: str, *, space: str, model: str) -> embedders.Vectors:
        """See QueryEncoder. A query over the model's limit is cut there."""
        encoder = self._batchers.get(space)
        if encoder is None:
            raise TransientError(Reason.EMBEDDER_UNAVAILABLE, f"No query encoder of model {model} is loaded here.")
        encoded = await encoder.encode_texts([query], kind=models.Kind.QUERY, wait=False)
        if encoded.failures:
            raise encoded.failures[0]
        vector: embedders.Vectors = encoded.vectors[0]
        return vector


@dataclass(slots=True)
class _Attempt:
    """One try over all collections: what survived, and whether anything moved meanwhile."""

    found: list[tuple[Collection, Pipeline, list[vectors.Match]]] = field(default_factory=list)
    truncated: bool = False
    moved: bool = False


class SearchService:
    """Answers questions. Stray candidates are reported to the delete lane (R13), never deleted here."""

    def __init__(
        self,
        *,
        ledger: ledger.Ledger,
        vectors: vectors.Vectors,
        queues: queues.Queues,
        encoder: QueryEncoder,
        deployment: str,
    ) -> None:
        self._ledger = ledger
        self._vectors = vectors
        self._queues = queues
        self._encoder = encoder
        self._deployment = deployment
        self.counters = Counters()

    async def search(self, question: Question) -> Answer:
        """The best hits, or TransientError(SEARCH_CONFLICT) when documents moved under every try."""
        self.counters.searches += 1
        if not question.collections:
            return Answer((), (), truncated=False)
        by_uid = {collection.uid: collection for collection in question.collections}
        for attempt in range(TRIES):
            if attempt:
                self.counters.retries += 1
                await asyncio.sleep(RETRY_PAUSE_SECONDS * attempt)
            answer = await self._try(question, by_uid)
            if answer is not None:
                return answer
        self.counters.refusals += 1
        raise TransientError(
            Reason.SEARCH_CONFLICT, "The documents changed under every try of this search. Send it again."
        )

    async def _try(self, question: Question, by_uid: Mapping[CollectionUid, Collection]) -> Answer | None:
        """One pass; None where something moved and the search has to run again."""
        snapshot = await self._ledger.snapshot(list(by_uid))
        spaces = {generation.active.space: generation.active for generation in snapshot.generations.values()}
        if question.min_score is not None and len(spaces) > 1:
            detail = "min_score needs collections of one model: scores of different models do not compare."
            raise Refusal(Reason.MIN_SCORE_NEEDS_ONE_SPACE, detail, pointers=(("/min_score", detail),))
        encoded = {
            space: await self._encoder.encode_query(question.query, space=space, model=pipeline.model)
            for space, pipeline in spaces.items()
        }
        attempt = _Attempt()
        for uid, generation in snapshot.generations.items():
            await self._collect(attempt, question, by_uid[uid], encoded[generation.active.space], snapshot)
            if attempt.moved:
                return None
        chosen = _best(attempt, question, several_spaces=len(spaces) > 1)
        hits = await self._hits(chosen)
        if hits is None:
            return None
        names = tuple(sorted({pipeline.model for pipeline in spaces.values()}))
        return Answer(hits, names, attempt.truncated)

    async def _collect(
        self,
        attempt: _Attempt,
        question: Question,
        collection: Collection,
        vector: embedders.Vectors,
        snapshot: ledger.Snapshot,
    ) -> None:
        """Query one collection, doubling k until enough hits survive the filter or the store has no more (R11)."""
        pipeline = snapshot.generations[collection.uid].active
        namespace = identity.namespace_of(self._deployment, collection.uid, pipeline.pipe)
        max_k = self._vectors.capabilities.max_k
        k = min(max(question.limit * OVERSAMPLING, 10), max_k)
        strays: set[tuple[str, int]] = set()
        while True:
            answer = await self._vectors.query(namespace, vector, k=k, where=question.where)
            needed = snapshot.positions.get(collection.uid)
            lagging = needed is not None and answer.position is not None and answer.position < needed
            documents = list(dict.fromkeys(match.document_id for match in answer.matches))
            seen = await self._ledger.visible(collection.uid, documents, snapshot=snapshot)
            if lagging or seen.moved:
                attempt.moved = True
                return
            kept = [m for m in answer.matches if is_shown(seen.rows.get(m.document_id), m.seq)]
            strays.update((m.document_id, m.seq) for m in answer.matches if m.document_id not in seen.rows)
            strays.update(
                (m.document_id, m.seq) for m in answer.matches if _is_stray(seen.rows.get(m.document_id), m.seq)
            )
            self.counters.dropped += len(answer.matches) - len(kept)
            if _count(kept, question) >= question.limit or not answer.more or k >= max_k:
                attempt.truncated |= answer.more and _count(kept, question) < question.limit
                attempt.found.append((collection, pipeline, kept))
                await self._report(strays, collection, pipeline)
                return
            k = min(k * 2, max_k)

    async def _report(self, strays: set[tuple[str, int]], collection: Collection, pipeline: Pipeline) -> None:
        """R13: a dropped hit is only ever a hint to look at it; losing that hint costs nothing."""
        hints = [
            Hint(collection.tenant, collection.uid, DocumentId(document_id), seq, pipeline.pipe)
            for document_id, seq in sorted(strays)
        ]
        if hints:
            try:
                await self._queues.send(queues.queue_name(Lane.DELETE), hints)
            except TransientError:
                return

    async def _hits(
        self, chosen: Sequence[tuple[Collection, Pipeline, vectors.Match, float]]
    ) -> tuple[Hit, ...] | None:
        refs = [
            ledger.ChunkRef(
                DocumentKey(collection.uid, DocumentId(match.document_id)), match.seq, pipeline.pipe, match.index
            )
            for collection, pipeline, match, _ in chosen
        ]
        shown = await self._ledger.shown(refs) if refs else []
        hits = []
        for (collection, _, _, score), chunk in zip(chosen, shown, strict=True):
            if chunk is None:
                return None  # collected meanwhile: the document moved on
            hits.append(Hit(collection.name, score, chunk))
        return tuple(hits)


def is_shown(row: Row | None, seq: int) -> bool:
    """R10: a hit is kept only if the row shows that very version."""
    return row is not None and row.live == seq and not row.tomb


def _is_stray(row: Row | None, seq: int) -> bool:
    """Whether a dropped hit can only be left over: nothing below the live seq is ever shown again."""
    return row is not None and (row.tomb or seq < row.live)


def _count(kept: Sequence[vectors.Match], question: Question) -> int:
    if question.group_by_document:
        return len({match.document_id for match in kept})
    return len(kept)


def _best(
    attempt: _Attempt, question: Question, *, several_spaces: bool
) -> list[tuple[Collection, Pipeline, vectors.Match, float]]:
    """Merge by score within one space, by reciprocal rank across several; one chunk per document where grouped."""
    ranked = []
    for collection, pipeline, matches in attempt.found:
        shown = _grouped(matches) if question.group_by_document else matches
        for rank, match in enumerate(shown):
            if question.min_score is not None and match.score < question.min_score:
                continue
            order = 1.0 / (RANK_CONSTANT + rank) if several_spaces else match.score
            ranked.append((order, collection, pipeline, match))
    ranked.sort(key=lambda item: (-item[0], item[1].name, item[3].document_id, item[3].index))
    return [(c, p, match, round(match.score, SCORE_DIGITS)) for _, c, p, match in ranked[: question.limit]]


def _grouped(matches: Sequence[vectors.Match]) -> list[vectors.Match]:
    best: dict[str, vectors.Match] = {}
    for match in matches:
        best.setdefault(match.document_id, match)
    return list(best.values())
