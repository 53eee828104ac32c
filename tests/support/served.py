"""The HTTP surface of webhook and search over a hand-driven pipeline: no socket, no worker beside the test.

async with served.opened() as api:
    answer = await api.post("/v1/events", json={...})       # with a key that may do everything
    await api.pipe.settle()                                 # the workers do what is to be done
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fastapi
import httpx2
import prometheus_client

from bloomweaver.adapters import sealing
from bloomweaver.domain import credentials, errors, filters, identity, models
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import batcher
from bloomweaver.ports import registry
from bloomweaver.runtime import health, metrics
from bloomweaver.runtime.web import application, authentication
from bloomweaver.search import api as search_api
from bloomweaver.search import embeddings
from bloomweaver.text import parsing
from bloomweaver.webhook import api as webhook_api
from bloomweaver.webhook import managing, status
from tests.support import pipelines

HANDBOOK = "/v1/collections/default/documents"
ALL = ("read", "write", "admin")


class Models:
    """The pipeline's own model, and one of another space that no worker of it can do."""

    default = "mem"

    def __init__(self, spec: models.ModelSpec, space: str) -> None:
        room = spec.room(models.Kind.DOCUMENT)
        self._offered = {
            "mem": managing.OfferedModel("mem", space, spec.dimension, room),
            "other": managing.OfferedModel("other", "f" * 16, 16, 2 * room),
        }

    async def find(self, name: str) -> managing.OfferedModel:
        if name not in self._offered:
            raise errors.Refusal(Reason.MODEL_NOT_FOUND, "There is no such model.")
        return self._offered[name]


@dataclass
class Encoders:
    """One model, loaded."""

    encoder: batcher.Batcher

    def listed(self) -> Sequence[embeddings.ListedModel]:
        spec = self.encoder.embedder.spec
        return [embeddings.ListedModel(spec.name, spec.dimension, spec.room(models.Kind.DOCUMENT), "ready")]

    async def batcher(self, model: str) -> batcher.Batcher:
        if model != self.encoder.embedder.spec.name:
            raise errors.Refusal(Reason.MODEL_NOT_FOUND, "There is no such model.")
        return self.encoder


@dataclass
class Served:
    """The application, its pipeline, and a client with a key that may do everything."""

    app: fastapi.FastAPI
    pipe: pipelines.Pipeline
    authenticator: authentication.KeyAuthenticator
    collector: prometheus_client.CollectorRegistry
    probes: dict[str, health.Probe]
    secret: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def key(
        self,
        *,
        verbs: Iterable[str] = ALL,
        collections: Sequence[str] = ("*",),
        tenant: str = pipelines.TENANT,
        where: Mapping[str, object] | None = None,
    ) -> str:
        """The secret of a new key."""
        key = credentials.new_key(self.pipe.nonces.secret)
        stored = registry.StoredKey(
            id=key.id,
            tenant=identity.TenantId(tenant),
            name="test",
            hash=key.hash,
            verbs=frozenset(verbs),
            collections=tuple(collections),
            created_at=self.pipe.clock.now(),
            filter_json=None if where is None else filters.to_json(filters.parse(where)),
        )
        await self.pipe.store.database.registry.add_key(stored)
        return key.secret

    async def call(self, method: str, path: str, *, secret: str | None = None, **request: Any) -> httpx2.Response:
        """One request, with the key of `secret` (empty: none at all), else with the one that may do everything."""
        headers = dict(request.pop("headers", {}))
        used = self.secret if secret is None else secret
        if used:
            headers["authorization"] = f"Bearer {used}"
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers, **request)

    async def get(self, path: str, **request: Any) -> httpx2.Response:
        return await self.call("GET", path, **request)

    async def post(self, path: str, **request: Any) -> httpx2.Response:
        return await self.call("POST", path, **request)

    async def put(self, path: str, **request: Any) -> httpx2.Response:
        return await self.call("PUT", path, **request)

    async def patch(self, path: str, **request: Any) -> httpx2.Response:
        return await self.call("PATCH", path, **request)

    async def delete(self, path: str, **request: Any) -> httpx2.Response:
        return await self.call("DELETE", path, **request)

    async def send(self, body: bytes, content_type: str | None = "application/json", **more: Any) -> httpx2.Response:
        """POST /v1/events with exactly these bytes."""
        headers = {**more.pop("headers", {}), **({"content-type": content_type} if content_type else {})}
        return await self.post("/v1/events", content=body, headers=headers, **more)

    async def stored(self) -> list[str]:
        """The ids of all documents in `default`, deleted ones too."""
        await self.pipe.webhook.flush()
        found = []
        for state in ("", "?state=deleted"):
            found += [item["document_id"] for item in (await self.get(HANDBOOK + state)).json()["items"]]
        return sorted(found)

    async def until_stored(self) -> None:
        """Until a call that runs beside this one has stored something."""
        for _ in range(1000):
            if await self.stored():
                return
            await asyncio.sleep(0)
        raise AssertionError("nothing was ever stored")

    async def index(self, document_id: str, text: str = "some words to find", **fields: Any) -> None:
        """A document that search shows."""
        answer = await self.put(f"{HANDBOOK}/{document_id}", json={"text": text, **fields})
        assert answer.status_code == 202, answer.text
        await self.settle()

    async def settle(self) -> None:
        """The workers do what is to be done."""
        await self.pipe.webhook.flush()
        await self.pipe.settle()


def event(document_id: str = "a", text: str = "some words", **fields: Any) -> dict[str, Any]:
    """A good event."""
    return {"change_type": "upsert", "document_id": document_id, "text": text, **fields}


def problem(answer: httpx2.Response) -> tuple[int, str, list[str]]:
    """Status, reason and pointers of a problem, after checking that it is one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["type"] == f"/docs/reasons/{body['reason']}"
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["instance"]
    return answer.status_code, body["reason"], [error["pointer"] for error in body.get("errors", [])]


def nested(depth: int) -> bytes:
    """JSON of that many levels."""
    return json.dumps(event()).encode()[:-1] + b', "metadata": ' + b"[" * depth + b"]" * depth + b"}"


@contextlib.asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Served]:
    """Everything, with the tenant's collection `default`."""
    async with pipelines.opened(**options) as pipe:
        collector = prometheus_client.CollectorRegistry()
        database = pipe.store.database
        authenticator = authentication.KeyAuthenticator(database.registry.key, clock=pipe.clock)
        measured = metrics.Metrics(collector, version="1.2.3")
        surroundings = application.Surroundings(
            clock=pipe.clock,
            nonces=pipe.nonces,
            metrics=measured,
            authenticator=authenticator,
            open_prefixes=webhook_api.OPEN_PREFIXES,
        )
        probes: dict[str, health.Probe] = {"queues": pipe.store.queues.depths}
        search_parts = search_api.Parts(
            search=pipe.search,
            embeddings=embeddings.EmbeddingService(Encoders(pipe.encoder)),
            registry=database.registry,
            clock=pipe.clock,
            metrics=measured,
        )
        routers = [
            *webhook_api.routers(_webhook(pipe, measured, authenticator, probes)),
            search_api.router(search_parts),
        ]
        app = application.create(surroundings, title="BloomWeaver", version="1.2.3", routers=routers)
        served = Served(app, pipe, authenticator, collector, probes)
        served.secret = await served.key()
        yield served


def _webhook(
    pipe: pipelines.Pipeline,
    measured: metrics.Metrics,
    authenticator: authentication.KeyAuthenticator,
    probes: dict[str, health.Probe],
) -> webhook_api.Parts:
    database = pipe.store.database
    embedder = pipe.embedder
    return webhook_api.Parts(
        service=pipe.webhook,
        collections=managing.Collections(
            registry=database.registry,
            ledger=database.ledger,
            models=Models(embedder.spec, embedder.space),
            revision=pipelines.REVISION,
        ),
        ledger=database.ledger,
        registry=database.registry,
        history=database.history,
        queues=pipe.store.queues,
        clock=pipe.clock,
        nonces=pipe.nonces,
        metrics=measured,
        sealer=sealing.AesSealer(b"k" * 32, random=pipe.nonces.secret),
        forget_key=authenticator.invalidate,
        extract=lambda text, media_type: parsing.parse(text, media_type).text,
        version="1.2.3",
        embedders=lambda: [status.EmbedderStatus("mem", embedder.space, 0)],
        probes=probes,
    )
