"""Collections: make, change, list, delete, and the steps of a re-index."""

from collections.abc import Iterable
from typing import Any, Final

import fastapi
from starlette import requests, responses

from bloomweaver.domain import credentials, errors, pricing
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.documents import Collection, Generation, Ordering, Row, State
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import ledger, registry
from bloomweaver.runtime.web import answers, authentication, bodies, paths
from bloomweaver.webhook import answering, estimating, finding, managing, parameters
from bloomweaver.webhook.schemas import collections as schemas

PATH: Final = "/v1/collections/{collection:collection}"
STATUSES: Final = {managing.Put.CREATED: 201, managing.Put.SAME: 200, managing.Put.BUILDING: 202}
WAITING: Final = frozenset({State.PENDING, State.INDEXING, State.UPDATING})


class Figures:
    """Counts and ages as a key may know them: a filtered key gets those of the documents that it sees."""

    def __init__(self, *, ledger: ledger.Ledger, finder: finding.Finder, clock: clocks.Clock) -> None:
        self._ledger = ledger
        self._finder = finder
        self._clock = clock

    async def of(
        self, principal: credentials.Principal, collection: Collection
    ) -> tuple[dict[State, int], float | None]:
        """Documents by state, and the age of the oldest change that is not searchable yet."""
        if principal.filter is not None:
            return self._counted(await self._finder.rows(principal, [collection]))
        counts = await self._ledger.counts(principal.tenant, collection.uid)
        oldest = await self._ledger.oldest_pending(principal.tenant, collection.uid)
        return counts, self._age(oldest)

    async def of_all(self, principal: credentials.Principal) -> tuple[dict[State, int], float | None]:
        """The same over all collections that the key sees."""
        if principal.filter is None and "*" in principal.collections:
            counts = await self._ledger.counts(principal.tenant)
            return counts, self._age(await self._ledger.oldest_pending(principal.tenant))
        total: dict[State, int] = {}
        ages = []
        for collection in await self._finder.collections(principal):
            counts, age = await self.of(principal, collection)
            total = {state: total.get(state, 0) + counts.get(state, 0) for state in State}
            ages.append(age)
        return total, max((age for age in ages if age is not None), default=None)

    def _counted(self, rows: Iterable[Row]) -> tuple[dict[State, int], float | None]:
        counts: dict[State, int] = {}
        oldest: float | None = None
        for row in rows:
            counts[row.state] = counts.get(row.state, 0) + 1
            if row.state in WAITING:
                oldest = row.accepted_at if oldest is None else min(oldest, row.accepted_at)
        return counts, self._age(oldest)

    def _age(self, since: float | None) -> float | None:
        return None if since is None else round(max(0.0, self._clock.now() - since), 3)


class CollectionRoutes:
    """The endpoints."""

    def __init__(
        self,
        collections: managing.Collections,
        *,
        registry: registry.Registry,
        finder: finding.Finder,
        figures: Figures,
    ) -> None:
        self._collections = collections
        self._registry = registry
        self._finder = finder
        self._figures = figures

    def router(self) -> fastapi.APIRouter:
        """The routes."""
        made = paths.router(tags=["collections"])
        one: dict[str, Any] = {"model": schemas.Collection}
        listed: dict[str, Any] = {"model": schemas.CollectionList}
        made.add_api_route(
            "/v1/collections",
            self.page,
            methods=["GET"],
            summary="Collections by name",
            responses={200: listed},
            openapi_extra=parameters.documented(*parameters.PAGING),
        )
        made.add_api_route(PATH, self.get, methods=["GET"], summary="One collection", responses={200: one})
        made.add_api_route(
            PATH,
            self.put,
            methods=["PUT"],
            summary="Make or change a collection; another model begins a re-index",
            responses={200: one, 201: one, 202: one},
            openapi_extra=bodies.operation(schemas.CollectionBody),
        )
        made.add_api_route(
            PATH,
            self.delete,
            methods=["DELETE"],
            status_code=202,
            summary="Delete a collection with all its documents",
            responses={202: {"model": schemas.Deleted}},
            openapi_extra=parameters.documented("confirm"),
        )
        self._add_reindex(made)
        return made

    def _add_reindex(self, made: fastapi.APIRouter) -> None:
        shown: dict[int | str, dict[str, Any]] = {200: {"model": schemas.Reindex}}
        made.add_api_route(
            f"{PATH}/reindex",
            self.reindex,
            methods=["GET"],
            summary="How far a re-index is, or what one would take",
            responses=shown,
            openapi_extra=parameters.documented("model"),
        )
        forced = parameters.documented("force")
        for name, endpoint, summary, extra in (
            ("promote", self.promote, "Search what was built", forced),
            ("rollback", self.roll_back, "Search again what was searched before", forced),
            ("cancel", self.cancel, "Give up what is being built", None),
        ):
            made.add_api_route(
                f"{PATH}/reindex/{name}",
                endpoint,
                methods=["POST"],
                summary=summary,
                responses=shown,
                openapi_extra=extra,
            )

    async def page(self, request: requests.Request) -> responses.Response:
        """The collections that the key sees."""
        principal = authentication.principal_of(request, Verb.READ)
        parameters.read(request, *parameters.PAGING)
        page = answers.page_of(request)
        found = [c for c in await self._finder.collections(principal) if c.name > (page.after or "")]
        shown = found[: page.limit]
        items = [await self._json(principal, collection) for collection in shown]
        return answers.as_page(items, after=shown[-1].name if len(found) > page.limit else None)

    async def get(self, request: requests.Request, collection: str) -> responses.Response:
        """A collection with its counts and its re-index."""
        principal = authentication.principal_of(request, Verb.READ)
        parameters.read(request)
        return answers.as_json(await self._json(principal, await self._finder.collection(principal, collection)))

    async def put(self, request: requests.Request, collection: str) -> responses.Response:
        """Make it, or bring it to what the body says."""
        principal = authentication.principal_of(request, Verb.ADMIN)
        parameters.read(request)
        authentication.require_collection(principal, collection)
        body = await bodies.read_json(request, schemas.CollectionBody)
        chunking = body.chunking or schemas.Chunking()
        wish = managing.Wish(
            model=body.model,
            ordering=Ordering(body.ordering) if body.ordering else None,
            max_tokens=chunking.max_tokens,
            overlap_tokens=chunking.overlap_tokens,
            description=body.description,
        )
        made, put = await self._collections.put(principal.tenant, collection, wish)
        return answers.as_json(await self._json(principal, made), status=STATUSES[put])

    async def delete(self, request: requests.Request, collection: str) -> responses.Response:
        """The name is free and invisible at once; documents, vectors and blobs are removed behind it."""
        principal = authentication.principal_of(request, Verb.ADMIN)
        confirm = parameters.read(request, "confirm").get("confirm")
        found = await self._finder.collection(principal, collection)
        if confirm != collection:
            detail = f"send ?confirm={collection}: all of its documents go with it"
            raise errors.Refusal(Reason.CONFIRMATION_REQUIRED, f"{detail}.", pointers=(("/confirm", detail),))
        await self._registry.delete_collection(found.uid)
        return answers.as_json({"name": collection, "state": "deleting"}, status=202)

    async def reindex(self, request: requests.Request, collection: str) -> responses.Response:
        """How far the building or soaking pipeline is; with `model`, what a re-index to that one would take."""
        principal = authentication.principal_of(request, Verb.READ)
        model = parameters.read(request, "model").get("model")
        found = await self._finder.collection(principal, collection)
        told = self._collections.reindex(found) if model is None else self._collections.foreseen(found, model=model)
        return answers.as_json(reindex_json(await told, principal))

    async def promote(self, request: requests.Request, collection: str) -> responses.Response:
        """Cut over, if every live document is ready, or `force` says that it may be without them."""
        force = _force(request)
        principal, found = await self._administered(request, collection)
        return answers.as_json(reindex_json(await self._collections.promote(found, force=force), principal))

    async def roll_back(self, request: requests.Request, collection: str) -> responses.Response:
        """Go back to the pipeline before the last promotion, which was kept current."""
        force = _force(request)
        principal, found = await self._administered(request, collection)
        return answers.as_json(reindex_json(await self._collections.roll_back(found, force=force), principal))

    async def cancel(self, request: requests.Request, collection: str) -> responses.Response:
        """Give up the building pipeline; what is searched stays as it is."""
        parameters.read(request)
        principal, found = await self._administered(request, collection)
        return answers.as_json(reindex_json(await self._collections.cancel(found), principal))

    async def _administered(
        self, request: requests.Request, collection: str
    ) -> tuple[credentials.Principal, Collection]:
        principal = authentication.principal_of(request, Verb.ADMIN)
        return principal, await self._finder.collection(principal, collection)

    async def _json(self, principal: credentials.Principal, collection: Collection) -> answering.Json:
        reindex = await self._collections.reindex(collection, estimated=False)
        counts, age = await self._figures.of(principal, collection)
        active = reindex.generation.active
        return {
            "name": collection.name,
            "model": active.model,
            "ordering": collection.ordering.value,
            "chunking": {
                "max_tokens": active.chunking.max_tokens,
                "overlap_tokens": active.chunking.overlap_tokens,
            },
            "description": collection.description,
            "created_at": answering.timestamp(collection.created_at),
            "counts": answering.counts_of(counts),
            "oldest_pending_age_seconds": age,
            "reindex": reindex_json(reindex, principal),
        }


def reindex_json(reindex: managing.Reindex, principal: credentials.Principal) -> answering.Json:
    """A re-index in an answer. A filtered key is told its state alone: numbers and ids would tell of others."""
    generation = reindex.generation
    whole = principal.filter is None
    gate, estimate = (reindex.gate, reindex.estimate) if whole else (None, None)
    return {
        "state": reindex.state.value,
        "model": _model_of(generation),
        "total": gate.total if gate else 0 if whole else None,
        "done": gate.ready if gate else 0 if whole else None,
        "failed": gate.failed if gate else 0 if whole else None,
        "gate": {"open": gate.open, "ready": gate.ready, "laggards": managing.laggards_of(gate)} if gate else None,
        "estimate": _estimate_json(estimate) if estimate else None,
        "soak_until": answering.timestamp(generation.previous_until),
    }


def _estimate_json(estimate: estimating.Estimate) -> answering.Json:
    cost = estimate.cost
    told = None
    if cost is not None:
        told = {
            "amount": cost.amount,
            "currency": pricing.CURRENCY,
            "per_million_tokens": cost.price.per_million_tokens,
            "source": cost.price.source,
            "as_of": cost.price.as_of,
        }
    return {
        "documents": estimate.documents,
        "tokens": estimate.tokens,
        "chunks": estimate.chunks,
        "vector_bytes": estimate.vector_bytes,
        "seconds": estimate.seconds,
        "cost": told,
    }


def _model_of(generation: Generation) -> str | None:
    """The model that is built, or that a rollback would go back to."""
    other = generation.building or generation.previous
    return other.model if other else None


def _force(request: requests.Request) -> bool:
    return parameters.choice(parameters.read(request, "force"), "force", values=("true", "false")) == "true"
