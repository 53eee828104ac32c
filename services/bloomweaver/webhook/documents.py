"""Documents, written by their id: PUT, PATCH, DELETE, retry. Reading them is in `document_views`.

A precondition is decided in the ledger's transaction, never by a look before it. `Idempotency-Key` is the event's id,
so a call that is sent again gives the stored answer.
"""

import re
from dataclasses import replace
from typing import Final

import fastapi
from starlette import requests, responses

from bloomweaver.domain import errors, events
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.domain.events import ChangeType, Outcome
from bloomweaver.domain.identity import DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.runtime.web import answers, authentication, bodies, limits, paths
from bloomweaver.webhook import accepting, answering, changes, envelopes, finding, parameters, service
from bloomweaver.webhook.schemas import events as schemas

PATH: Final = "/v1/collections/{collection:collection}/documents/{document_id:document_id}"
JSON: Final = "application/json"
RAW_QUERY: Final = ("source_version", "title", "url", "origin", "batch_id")

_ETAG: Final = re.compile(r'"([0-9]{1,16})"', re.ASCII)


class DocumentRoutes:
    """The endpoints that change one document."""

    def __init__(
        self,
        acceptor: accepting.Acceptor,
        *,
        service: service.WebhookService,
        finder: finding.Finder,
        clock: clocks.Clock,
        media_types: frozenset[str],
    ) -> None:
        self._acceptor = acceptor
        self._service = service
        self._finder = finder
        self._clock = clock
        self._media_types = media_types

    def router(self) -> fastapi.APIRouter:
        """The routes."""
        made = paths.router(tags=["documents"])
        result = {"model": schemas.Result}
        made.add_api_route(
            PATH,
            self.put,
            methods=["PUT"],
            status_code=202,
            summary="Make the document so",
            responses={202: result, 200: result},
            openapi_extra=parameters.documented(*parameters.WAITING, *RAW_QUERY, **self._put_body()),
        )
        made.add_api_route(
            PATH,
            self.patch,
            methods=["PATCH"],
            status_code=202,
            summary="Change title, url or metadata; nothing is embedded",
            responses={202: result, 200: result},
            openapi_extra=parameters.documented(*parameters.WAITING, **bodies.operation(schemas.Patch)),
        )
        made.add_api_route(
            PATH,
            self.delete,
            methods=["DELETE"],
            summary="Delete; no search that starts afterwards shows it",
            responses={200: result},
            openapi_extra=parameters.documented("source_version"),
        )
        made.add_api_route(
            f"{PATH}/retry",
            self.retry,
            methods=["POST"],
            status_code=202,
            summary="Try a failed document again now",
            responses={202: result},
        )
        return made

    async def put(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """Replace the document whole, from JSON or from a raw body with its media type."""
        principal = authentication.principal_of(request, Verb.WRITE)
        essence = limits.media_type(request, {JSON, *self._media_types}).name
        allowed = parameters.WAITING if essence == JSON else (*parameters.WAITING, *RAW_QUERY)
        query = parameters.read(request, *allowed)
        wait = parameters.wait_of(query)
        expect = expectation_of(request)
        body = await limits.read_body(request, limit_bytes=limits.ONE_EVENT_BYTES)
        value = await envelopes.value_of(body) if essence == JSON else raw_document(body, essence, query=query)
        event_id = limits.header_id(request, "idempotency-key")
        submission = changes.of_document(value, collection=collection, document_id=document_id, event_id=event_id)
        sender = accepting.sender_of(principal)
        accepted, json, status = await self._acceptor.one(replace(submission, expect=expect), sender=sender, wait=wait)
        return answers.as_json(json, status=status, headers=answering.etag(accepted.seq))

    async def patch(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """Merge into title, url and metadata."""
        principal = authentication.principal_of(request, Verb.WRITE)
        wait = parameters.wait_of(parameters.read(request, *parameters.WAITING))
        expect = expectation_of(request) or events.Expect()
        limits.media_type(request, bodies.JSON)
        patch = changes.of_patch(await bodies.read_value(request))
        submission = service.Submission(
            collection=collection,
            document_id=document_id,
            change_type=ChangeType.UPDATE,
            patch=patch,
            expect=replace(expect, present=True),
            event_id=limits.header_id(request, "idempotency-key"),
        )
        try:
            sender = accepting.sender_of(principal)
            accepted, json, status = await self._acceptor.one(submission, sender=sender, wait=wait)
        except errors.Refusal as refusal:
            # What is wrong with the merged whole is found in the transaction, which knows no fields of a body.
            raise envelopes.prefixed(
                refusal, "/metadata" if refusal.reason is Reason.INVALID_METADATA else ""
            ) from None
        return answers.as_json(json, status=status, headers=answering.etag(accepted.seq))

    async def delete(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """Delete. With a source version it is the source's news, which may be older than what is there (409)."""
        principal = authentication.principal_of(request, Verb.WRITE)
        version = parameters.source_version_of(parameters.read(request, "source_version"))
        expect = expectation_of(request) or events.Expect()
        submission = service.Submission(
            collection=collection,
            document_id=document_id,
            change_type=ChangeType.DELETE,
            expect=replace(expect, present=version is None),
            source_version=version,
            event_id=limits.header_id(request, "idempotency-key"),
        )
        accepted, json, _ = await self._acceptor.one(submission, sender=accepting.sender_of(principal))
        if Outcome.SUPERSEDED in (accepted.outcome, accepted.original):
            why = "has this source version" if accepted.reason is Reason.EQUAL_SOURCE_VERSION else "is newer"
            raise errors.Refusal(
                Reason.OLDER_THAN_CURRENT, f"The delete is superseded: what is there {why}, and stays."
            )
        return answers.as_json(json, headers=answering.etag(accepted.seq))

    async def retry(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """Try a failed document again now, from the beginning."""
        principal = authentication.principal_of(request, Verb.WRITE)
        parameters.read(request)
        look = await self._finder.look(principal, collection, document_id)
        if look.row.tomb:
            raise deleted()
        key = DocumentKey(look.collection.uid, DocumentId(document_id))
        accepted = await self._service.retry(key, caller=accepting.sender_of(principal).caller())
        row = accepted.row if accepted is not None and accepted.row is not None else look.row
        state = answering.state_of(row, now=self._clock.now())
        url = answering.status_url(collection, document_id)
        retried = {"collection": collection, "document_id": document_id, "retried": accepted is not None}
        return answers.as_json({**retried, **state, "status_url": url}, status=202)

    def _put_body(self) -> dict[str, object]:
        raw: dict[str, dict[str, object]] = {name: {"type": "string"} for name in sorted(self._media_types)}
        schema = schemas.Document.model_json_schema(ref_template="#/components/schemas/{model}")
        return bodies.operation_of({JSON: schema, **raw})


def raw_document(body: bytes, essence: str, *, query: dict[str, str]) -> dict[str, object]:
    """A raw body and its query as the JSON that would say the same."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: bad byte at offset {error.start}"
        raise errors.Refusal(Reason.UNPARSABLE, f"{detail.capitalize()}.", pointers=(("", detail),)) from None
    given: dict[str, object] = {"text": text, "media_type": essence}
    given.update((name, query[name]) for name in RAW_QUERY if name in query)
    return given


def expectation_of(request: requests.Request) -> events.Expect | None:
    """If-Match and If-None-Match as a precondition; weak tags, lists and other forms are refused."""
    wanted, unwanted = request.headers.getlist("if-match"), request.headers.getlist("if-none-match")
    if not wanted and not unwanted:
        return None
    if wanted and unwanted:
        raise errors.Refusal(Reason.INVALID_REQUEST, "Send If-Match or If-None-Match, not both.")
    if unwanted:
        if unwanted != ["*"]:
            raise errors.Refusal(Reason.INVALID_REQUEST, "If-None-Match is * here: insert only.")
        return events.Expect(absent=True)
    match = _ETAG.fullmatch(wanted[0]) if len(wanted) == 1 else None
    if match is None:
        raise errors.Refusal(Reason.INVALID_REQUEST, 'If-Match is one ETag as it was answered, like "4711".')
    return events.Expect(seq=int(match.group(1)))


def deleted() -> errors.Refusal:
    """What needs a document that is there."""
    return errors.Refusal(Reason.DOCUMENT_DELETED, "The document was deleted. PUT it again to bring it back.")
