"""How things stand: the tenant's documents for every key that reads, the deployment for one with the verb admin."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import fastapi
from starlette import requests, responses

from bloomweaver.domain.credentials import Verb
from bloomweaver.ports import queues
from bloomweaver.runtime import health
from bloomweaver.runtime.web import answers, authentication, paths
from bloomweaver.webhook import answering, collections, parameters
from bloomweaver.webhook.schemas import status as schemas


@dataclass(frozen=True, slots=True)
class EmbedderStatus:
    """A model that is ready, and how many passages wait for it."""

    model: str
    space: str
    waiting: int


@dataclass(frozen=True, slots=True)
class StatusRoutes:
    """The endpoint. probes: by store, a call that fails with a BloomWeaverError where the store is away."""

    figures: collections.Figures
    queues: queues.Queues
    version: str
    embedders: Callable[[], Sequence[EmbedderStatus]]
    probes: Mapping[str, health.Probe]

    def router(self) -> fastapi.APIRouter:
        """The route."""
        made = paths.router(tags=["status"])
        made.add_api_route(
            "/v1/status",
            self.status,
            methods=["GET"],
            summary="How things stand",
            responses={200: {"model": schemas.Status}},
        )
        return made

    async def status(self, request: requests.Request) -> responses.Response:
        """Documents by state; with the verb admin also queues, embedders and stores."""
        admin = Verb.ADMIN.value in _verbs(request)
        principal = authentication.principal_of(request, Verb.ADMIN if admin else Verb.READ)
        parameters.read(request)
        counts, age = await self.figures.of_all(principal)
        answer: answering.Json = {
            "version": self.version,
            "counts": answering.counts_of(counts),
            "oldest_pending_age_seconds": age,
        }
        if admin:
            depths, stores = await asyncio.gather(self.queues.depths(), self._stores())
            answer["queues"] = {name: _depth(depth) for name, depth in sorted(depths.items())}
            answer["embedders"] = [
                {"model": one.model, "space": one.space, "waiting": one.waiting} for one in self.embedders()
            ]
            answer["stores"] = stores
        return answers.as_json(answer)

    async def _stores(self) -> dict[str, object]:
        found = await asyncio.gather(*(health.probed(part, probe) for part, probe in self.probes.items()))
        return {
            name: {"reachable": error is None, "reason": error.reason.value if error else None}
            for name, error in zip(self.probes, found, strict=True)
        }


def _verbs(request: requests.Request) -> frozenset[str]:
    principal = request.scope.get(authentication.PRINCIPAL_KEY)
    return principal.verbs if principal is not None else frozenset()


def _depth(depth: queues.Depth) -> answering.Json:
    age = depth.oldest_age_seconds
    return {
        "visible": depth.visible,
        "in_flight": depth.in_flight,
        "delayed": depth.delayed,
        "dead": depth.dead,
        "oldest_age_seconds": None if age is None else round(age, 3),
    }
