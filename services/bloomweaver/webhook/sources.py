"""Signed sources: systems that send webhooks without a key, each to one collection, each signing with its own secret.

The signature is verified over the raw body before anything of it is parsed. A source with a filter is confined: what it
sends has to pass, and what is there outside of it answers as if it did not exist.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import fastapi
from starlette import requests, responses

from bloomweaver.domain import errors, filters, identity, signatures
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.domain.events import ChangeType
from bloomweaver.domain.identity import DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import ledger as ledger_port
from bloomweaver.ports import registry as registries
from bloomweaver.runtime.web import answers as answers_module
from bloomweaver.runtime.web import authentication, bodies, paths
from bloomweaver.webhook import accepting, answering, envelopes, events, finding, keys, parameters, sealing, service
from bloomweaver.webhook.schemas import events as event_schemas
from bloomweaver.webhook.schemas import keys as schemas

INGEST: Final = "/v1/ingest/"
VALID_SECRETS: Final = 2


@dataclass(frozen=True, slots=True)
class SourceRoutes:
    """The endpoints."""

    acceptor: accepting.Acceptor
    registry: registries.Registry
    ledger: ledger_port.Ledger
    finder: finding.Finder
    sealer: sealing.Sealer
    clock: clocks.Clock
    nonces: clocks.Nonces

    def router(self) -> fastapi.APIRouter:
        """The routes."""
        made = paths.router(tags=["sources"])
        made.add_api_route(
            "/v1/sources/{source:segment}",
            self.put,
            methods=["PUT"],
            summary="Make or change a signed source",
            responses={200: {"model": schemas.Source}, 201: {"model": schemas.Source}},
            openapi_extra=parameters.documented("rotate", **bodies.operation(schemas.SourceBody)),
        )
        result = {"model": event_schemas.Result | event_schemas.Results}
        made.add_api_route(
            INGEST + "{ingest_id:segment}",
            self.ingest,
            methods=["POST"],
            status_code=202,
            summary="What a signed source sends: events in any of their forms",
            responses={202: result, 200: result},
            openapi_extra=parameters.documented(*parameters.WAITING, security=[], **event_schemas.request_body()),
        )
        return made

    async def put(self, request: requests.Request, source: str) -> responses.Response:
        """Make it, or change its settings; `rotate=begin` adds a secret, `rotate=end` drops the older one."""
        principal = authentication.principal_of(request, Verb.ADMIN)
        query = parameters.read(request, "rotate")
        rotate = parameters.choice(query, "rotate", values=("begin", "end"))
        if not identity.valid_collection_name(source):
            raise errors.Refusal(Reason.INVALID_REQUEST, "The name of a source is 1 to 63 of a-z 0-9 . _ -.")
        body = await bodies.read_json(request, schemas.SourceBody)
        await self.finder.collection(principal, body.collection)
        bound = filters.and_(principal.filter, keys.parse_filter(body.filter))
        before = await self.registry.source(principal.tenant, source)
        if before is not None:
            authentication.require_collection(principal, before.collection)
        stored = await self.registry.put_source(
            registries.Source(
                tenant=principal.tenant,
                name=source,
                ingest_id=before.ingest_id if before else self.nonces.nonce(),
                collection=body.collection,
                tolerance_seconds=body.tolerance_seconds,
                secrets=self._secrets(principal.tenant, source, before=before, rotate=rotate),
                filter_json=None if bound is None else filters.to_json(bound),
            )
        )
        answer = self._json(stored)
        return answers_module.as_json(answer, status=200 if before else 201, headers={"Cache-Control": "no-store"})

    async def ingest(self, request: requests.Request, ingest_id: str) -> responses.Response:
        """Verify the signature over the raw body, then accept as any other change."""
        wait = parameters.wait_of(parameters.read(request, *parameters.WAITING))
        source = await self.registry.source_by_ingest_id(ingest_id)
        if source is None:
            raise errors.Refusal(Reason.SOURCE_NOT_FOUND, "There is no such source.")
        essence, body = await envelopes.read_body(request)
        webhook_id = signatures.verify(
            request.scope["headers"],
            body,
            secrets=self._opened(source),
            now_seconds=self.clock.now(),
            tolerance_seconds=source.tolerance_seconds,
        )
        origin = envelopes.Origin(webhook_id, source=source.name, collection=source.collection)
        envelope = await envelopes.parse(request, essence, body, origin=origin)
        if source.filter_json is not None:
            bound = filters.from_json(source.filter_json)
            envelope = replace(envelope, items=await self._confined(envelope.items, source, bound))
        sender = accepting.Sender(source.tenant, f"source:{source.name}")
        return await events.accept_envelope(envelope, acceptor=self.acceptor, sender=sender, wait=wait, request=request)

    async def _confined(
        self, items: Sequence[envelopes.Item], source: registries.Source, bound: filters.Filter
    ) -> list[envelopes.Item]:
        collection = await self.registry.collection(source.tenant, source.collection)
        if collection is None:
            raise authentication.collection_not_found(source.collection)
        sent = [item.submission for item in items if item.submission is not None]
        found = [DocumentKey(collection.uid, DocumentId(submission.document_id)) for submission in sent]
        looks = iter(await self.ledger.look(found))
        confined = []
        for item in items:
            refusal = None if item.submission is None else outside(item.submission, next(looks), bound)
            confined.append(item if refusal is None else replace(item, submission=None, refusal=item.pointed(refusal)))
        return confined

    def _secrets(
        self, tenant: TenantId, name: str, *, before: registries.Source | None, rotate: str | None
    ) -> tuple[bytes, ...]:
        """The sealed secrets, the newest first."""
        if before is not None and rotate != "begin":
            return before.secrets[:1] if rotate == "end" else before.secrets
        new = self.sealer.seal(signatures.new_secret(self.nonces.secret).key, owner=_owner(tenant, name))
        return (new, *(before.secrets[: VALID_SECRETS - 1] if before else ()))

    def _opened(self, source: registries.Source) -> list[signatures.Secret]:
        owner = _owner(source.tenant, source.name)
        return [signatures.Secret(self.sealer.unseal(sealed, owner=owner)) for sealed in source.secrets]

    def _json(self, source: registries.Source) -> answering.Json:
        opened = self._opened(source)
        return {
            "id": source.ingest_id,
            "name": source.name,
            "collection": source.collection,
            "tolerance_seconds": source.tolerance_seconds,
            "filter": filters.to_object(filters.from_json(source.filter_json)) if source.filter_json else None,
            "ingest_url": INGEST + source.ingest_id,
            "secret": opened[0].text,
            "secrets_valid": len(opened),
        }


def outside(
    submission: service.Submission, look: ledger_port.Look | None, bound: filters.Filter
) -> errors.Refusal | None:
    """Why a confined source may not send this: it would be outside, or what is there is."""
    if submission.change_type is not ChangeType.DELETE and not filters.matches(bound, submission.meta.metadata):
        detail = "the metadata is outside of what this source may send"
        return errors.Refusal(Reason.INVALID_METADATA, f"{detail.capitalize()}.", pointers=(("/metadata", detail),))
    revision = None if look is None or look.row.tomb else look.revision(look.row.seq)
    if revision is not None and not filters.matches(bound, revision.meta.metadata):
        return finding.no_document()
    return None


def _owner(tenant: TenantId, name: str) -> str:
    return f"source/{tenant}/{name}"
