"""The routes of search: `/v1/search`, and embeddings and models in OpenAI's shape.

api.install(app, api.Parts(search=…, embeddings=…, registry=…, clock=…, metrics=…))
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import fastapi
from starlette import requests, responses

from bloomweaver.domain import credentials, errors, filters, models
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.documents import Collection
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import embedders, registry
from bloomweaver.runtime import metrics
from bloomweaver.runtime.web import answers, authentication, bodies, limits, paths
from bloomweaver.search import embeddings, schemas, service

EMBEDDINGS_BYTES: Final = limits.ONE_EVENT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the routes need from the composition."""

    search: service.SearchService
    embeddings: embeddings.EmbeddingService
    registry: registry.Registry
    clock: clocks.Clock
    metrics: metrics.Metrics


def router(parts: Parts) -> fastapi.APIRouter:
    """Every route of search."""
    routes = SearchRoutes(parts)
    made = paths.router(tags=["search"])
    made.add_api_route(
        "/v1/search",
        routes.search,
        methods=["POST"],
        summary="Find chunks by meaning",
        responses={200: {"model": schemas.SearchAnswer}},
        openapi_extra=bodies.operation(schemas.SearchBody),
    )
    made.add_api_route(
        "/v1/embeddings",
        routes.embed,
        methods=["POST"],
        summary="Vectors, in OpenAI's shape",
        responses={200: {"model": schemas.EmbeddingsAnswer}},
        openapi_extra=bodies.operation(schemas.EmbeddingsBody),
    )
    made.add_api_route(
        "/v1/models",
        routes.list_models,
        methods=["GET"],
        summary="Embedding models, in OpenAI's shape",
        responses={200: {"model": schemas.Models}},
    )
    return made


class SearchRoutes:
    """The endpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._counted = service.Counters()

    async def search(self, request: requests.Request) -> responses.Response:
        """Hits of what is shown now: never a deleted document, never two versions of one."""
        principal = authentication.principal_of(request, Verb.READ)
        started = self._parts.clock.monotonic()
        body = await bodies.read_json(request, schemas.SearchBody)
        if not body.query.strip() or "\x00" in body.query:
            raise _wrong("/query", "text to search for, without NUL characters")
        question = service.Question(
            query=body.query,
            collections=await self._collections(principal, body.collections),
            limit=body.limit,
            where=filters.and_(_filter(body.filter), principal.filter),
            min_score=body.min_score,
            group_by_document=body.group_by_document,
        )
        try:
            answer = await self._parts.search.search(question)
        finally:
            seconds = self._parts.clock.monotonic() - started
            self._measure(seconds)
        return answers.as_json(
            {
                "hits": [_hit(hit) for hit in answer.hits],
                "models": list(answer.models),
                "truncated": answer.truncated,
                "took_seconds": round(seconds, 4),
            }
        )

    async def embed(self, request: requests.Request) -> responses.Response:
        """Vectors of texts or of token ids; an input that is too long is refused, never cut."""
        principal = authentication.principal_of(request, Verb.READ)
        body = await bodies.read_json(request, schemas.EmbeddingsBody, limit_bytes=EMBEDDINGS_BYTES)
        inputs = embeddings.inputs_of(body.input)
        embedded = await self._parts.embeddings.embed(
            inputs,
            model=body.model,
            kind=models.Kind(body.input_type),
            owner=principal.tenant,
            dimension=body.dimensions,
        )
        data = [
            {"object": "embedding", "index": index, "embedding": _vector(row, body.encoding_format)}
            for index, row in enumerate(embedded.vectors)
        ]
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        return answers.as_json({"object": "list", "data": data, "model": body.model, "usage": usage})

    async def list_models(self, request: requests.Request) -> responses.Response:
        """What `model` may be in collections and embeddings."""
        authentication.principal_of(request, Verb.READ)
        data = [
            {
                "id": model.name,
                "object": "model",
                "created": 0,
                "owned_by": "bloomweaver",
                "dimension": model.dimension,
                "limit": model.limit,
                "state": model.state,
            }
            for model in self._parts.embeddings.listed()
        ]
        return answers.as_json({"object": "list", "data": data})

    async def _collections(
        self, principal: credentials.Principal, names: Sequence[str] | None
    ) -> tuple[Collection, ...]:
        """Those that are named, each of which has to be there, or all that the key sees."""
        found = {c.name: c for c in await self._parts.registry.collections(principal.tenant) if principal.sees(c.name)}
        if names is None:
            return tuple(found.values())
        for name in names:
            if name not in found:
                raise authentication.collection_not_found(name)
        return tuple(found[name] for name in dict.fromkeys(names))

    def _measure(self, seconds: float) -> None:
        """The service counts for itself; what is new since the last search goes to the metrics."""
        now, before = self._parts.search.counters, self._counted
        self._parts.metrics.observe_search("total", seconds=seconds)
        self._parts.metrics.count_search(
            retries=now.retries - before.retries, dropped_hits=now.dropped - before.dropped
        )
        before.retries, before.dropped = now.retries, now.dropped


def _vector(row: embedders.Vectors, encoding: str) -> object:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    return row.tolist()


def _filter(value: dict[str, object] | None) -> filters.Filter | None:
    if value is None:
        return None
    try:
        return filters.parse(value)
    except filters.FilterError as error:
        pointer = f"/filter{error.pointer}"
        raise errors.Refusal(Reason.INVALID_FILTER, error.detail, pointers=((pointer, error.detail),)) from None


def _hit(hit: service.Hit) -> dict[str, object]:
    chunk, revision = hit.chunk.chunk, hit.chunk.revision
    return {
        "collection": hit.collection,
        "document_id": hit.chunk.ref.key.document_id,
        "seq": hit.chunk.ref.seq,
        "score": hit.score,
        "title": revision.meta.title,
        "url": revision.meta.url,
        "chunk": {
            "index": chunk.index,
            "kind": chunk.kind,
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "heading": list(chunk.heading),
            "page": chunk.page,
        },
        "metadata": dict(revision.meta.metadata),
    }


def _wrong(pointer: str, detail: str) -> errors.Refusal:
    return errors.Refusal(Reason.INVALID_REQUEST, f"{pointer[1:]}: {detail}.", pointers=((pointer, detail),))
