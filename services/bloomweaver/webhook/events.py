"""Change events: `POST /v1/events`, and what became of one or of a batch of them."""

from collections import Counter

import fastapi
from starlette import requests, responses

from bloomweaver.domain import errors, identity
from bloomweaver.domain.credentials import Principal, Verb
from bloomweaver.domain.documents import DocumentKey, State
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import ledger
from bloomweaver.runtime.web import answers, authentication, paths, problems, shortcuts
from bloomweaver.webhook import accepting, answering, envelopes, finding, parameters
from bloomweaver.webhook.schemas import events as schemas


class EventRoutes:
    """The endpoints; `router` says where they are."""

    def __init__(
        self,
        acceptor: accepting.Acceptor,
        *,
        finder: finding.Finder,
        ledger: ledger.Ledger,
        clock: clocks.Clock,
    ) -> None:
        self._acceptor = acceptor
        self._finder = finder
        self._ledger = ledger
        self._clock = clock

    def hot_router(self) -> fastapi.APIRouter:
        """The route that has to be quick."""
        made = paths.router(tags=["events"], route_class=shortcuts.Route)
        made.add_api_route(
            "/v1/events",
            self.send,
            methods=["POST"],
            status_code=202,
            summary="Send one change, or up to 1,000",
            responses={202: {"model": schemas.Result | schemas.Results}, 200: {"model": schemas.Result}},
            openapi_extra=parameters.documented(*parameters.WAITING, **schemas.request_body()),
        )
        return made

    def router(self) -> fastapi.APIRouter:
        """What became of events."""
        made = paths.router(tags=["events"])
        made.add_api_route(
            "/v1/events/{event_id:segment}",
            self.look_up,
            methods=["GET"],
            summary="What became of an event",
            responses={200: {"model": schemas.Result}},
            openapi_extra=parameters.documented("collection", "source"),
        )
        made.add_api_route(
            "/v1/batches/{batch_id:segment}",
            self.batch,
            methods=["GET"],
            summary="The documents of a batch, counted by state",
            responses={200: {"model": schemas.Batch}},
        )
        return made

    async def send(self, request: requests.Request) -> responses.Response:
        """Accept changes. Each is decided by itself, in the order sent; the answer comes after the commit."""
        principal = authentication.principal_of(request, Verb.WRITE)
        wait = parameters.wait_of(parameters.read(request, *parameters.WAITING))
        origin = envelopes.Origin(envelopes.header_event_id(request))
        essence, body = await envelopes.read_body(request)
        envelope = await envelopes.parse(request, essence, body, origin=origin)
        return await accept_envelope(
            envelope, acceptor=self._acceptor, sender=accepting.sender_of(principal), wait=wait, request=request
        )

    async def look_up(self, request: requests.Request, event_id: str) -> responses.Response:
        """The stored outcome of an event and the state of its document now. Kept for 7 days."""
        principal = authentication.principal_of(request, Verb.READ)
        query = parameters.read(request, "collection", "source")
        name = query.get("collection", identity.DEFAULT_COLLECTION)
        collection = await self._finder.collection(principal, name)
        stored = await self._ledger.event(collection.uid, source=query.get("source", ""), event_id=event_id)
        if stored is None:
            raise _no_event()
        key = DocumentKey(collection.uid, stored.document_id)
        look = (await self._ledger.look([key]))[0]
        revision = None if look is None else look.revision(look.row.seq)
        if not finding.shows(principal, revision):
            raise _no_event()
        state = answering.absent() if look is None else answering.state_of(look.row, now=self._clock.now())
        answer: answering.Json = {
            **state,
            "event_id": event_id,
            "source": stored.identity.source,
            "collection": name,
            "document_id": stored.document_id,
            "outcome": stored.outcome.value,
            "seq": stored.seq,
            "batch_id": stored.batch_id,
            "accepted_at": answering.timestamp(stored.at),
            "status_url": answering.status_url(name, stored.document_id),
        }
        if stored.reason is not None:
            answer["reason"] = answer["detail"] = stored.reason.value
        return answers.as_json(answer)

    async def batch(self, request: requests.Request, batch_id: str) -> responses.Response:
        """How far the documents are whose last change carried this batch id."""
        principal = authentication.principal_of(request, Verb.READ)
        parameters.read(request)
        counts = await self._batch_counts(principal, batch_id)
        total = sum(counts.values())
        if not total:
            raise errors.Refusal(Reason.BATCH_NOT_FOUND, "No change that is remembered carried this batch id.")
        return answers.as_json({"batch_id": batch_id, "total": total, "counts": answering.counts_of(counts)})

    async def _batch_counts(self, principal: Principal, batch_id: str) -> dict[State, int]:
        """What the key sees of a batch; a filtered key sees none, because a number would tell of other documents."""
        if principal.filter is not None:
            return {}
        if "*" in principal.collections:
            return await self._ledger.batch_counts(principal.tenant, batch_id)
        counts: Counter[State] = Counter()
        for collection in await self._finder.collections(principal):
            counts.update(await self._ledger.batch_counts(principal.tenant, batch_id, collection.uid))
        return counts


async def accept_envelope(
    envelope: envelopes.Envelope,
    *,
    acceptor: accepting.Acceptor,
    sender: accepting.Sender,
    wait: parameters.Wait | None,
    request: requests.Request,
) -> responses.Response:
    """The answer to a whole call: the result of its one event, or those of several."""
    decided = await acceptor.accept(envelope.items, sender=sender, wait=wait)
    status = acceptor.status_of(decided)
    if envelope.single:
        one = decided.decided[0]
        if isinstance(one.result, errors.Refusal):
            raise one.result
        return answers.as_json(acceptor.json_of(one), status=status)
    accepting.refuse_if_nothing_is_good(decided)
    instance = problems.instance_of(request.scope)
    return answers.as_json(accepting.several_json(decided, acceptor, instance=instance), status=status)


def _no_event() -> errors.Refusal:
    return errors.Refusal(Reason.EVENT_NOT_FOUND, "No event with this id is remembered in this collection.")
