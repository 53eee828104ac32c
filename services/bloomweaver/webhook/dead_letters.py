"""Failed documents: one list with cause, and the way back for one, some or all of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import fastapi
from starlette import requests, responses

from bloomweaver.domain import credentials
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.documents import DocumentKey
from bloomweaver.domain.identity import CollectionUid, DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import history as histories
from bloomweaver.ports import ledger
from bloomweaver.runtime.web import answers, authentication, bodies, paths
from bloomweaver.webhook import accepting, answering, changes, finding, parameters, service
from bloomweaver.webhook.schemas import status as schemas

AT_ONCE: Final = 32
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class DeadLetterRoutes:
    """The endpoints."""

    service: service.WebhookService
    history: histories.History
    ledger: ledger.Ledger
    finder: finding.Finder
    clock: clocks.Clock

    def router(self) -> fastapi.APIRouter:
        """The routes."""
        made = paths.router(tags=["dead letters"])
        made.add_api_route(
            "/v1/dead-letters",
            self.page,
            methods=["GET"],
            summary="Failed documents, with their causes",
            responses={200: {"model": schemas.DeadLetterList}},
            openapi_extra=parameters.documented("reason", "collection", *parameters.PAGING),
        )
        made.add_api_route(
            "/v1/dead-letters/redrive",
            self.redrive,
            methods=["POST"],
            summary="Try failed documents again",
            responses={200: {"model": schemas.Redriven}},
            openapi_extra=bodies.operation(schemas.Redrive),
        )
        return made

    async def page(self, request: requests.Request) -> responses.Response:
        """By collection and document id."""
        principal = authentication.principal_of(request, Verb.READ)
        query = parameters.read(request, "reason", "collection", *parameters.PAGING)
        page = answers.page_of(request)
        reason = parameters.choice(query, "reason", values=tuple(Reason))
        uid = await self._uid(principal, query.get("collection"))
        letters = self._letters(principal, Reason(reason) if reason else None, uid, after=page.after or "")
        found = []
        async for letter in letters:
            found.append(letter)
            if len(found) > page.limit:
                break
        shown = found[: page.limit]
        now = self.clock.now()
        after = _cursor(shown[-1]) if len(found) > page.limit else None
        return answers.as_page([_json(letter, now=now) for letter in shown], after=after)

    async def redrive(self, request: requests.Request) -> responses.Response:
        """Those with the reason, of the collection, of these ids; all of them where nothing is said."""
        principal = authentication.principal_of(request, Verb.WRITE)
        parameters.read(request)
        body = await bodies.read_json(request, schemas.Redrive)
        uid = await self._uid(principal, body.collection)
        if body.documents is not None:
            if uid is None:
                changes.refuse("/collection", "needed beside documents: ids are unique within a collection")
            keys = await self._named(principal, uid, body.documents, reason=body.reason)
        else:
            keys = [letter.row.key async for letter in self._letters(principal, body.reason, uid, after="")]
        caller = accepting.sender_of(principal).caller()
        redriven = 0
        for start in range(0, len(keys), AT_ONCE):
            batch = keys[start : start + AT_ONCE]
            accepted = await asyncio.gather(*(self.service.retry(key, caller=caller) for key in batch))
            redriven += sum(one is not None for one in accepted)
        return answers.as_json({"redriven": redriven})

    async def _uid(self, principal: credentials.Principal, collection: str | None) -> CollectionUid | None:
        if collection is None:
            return None
        return (await self.finder.collection(principal, collection)).uid

    async def _named(
        self,
        principal: credentials.Principal,
        uid: CollectionUid,
        document_ids: list[str],
        *,
        reason: Reason | None,
    ) -> list[DocumentKey]:
        keys = [DocumentKey(uid, DocumentId(document_id)) for document_id in dict.fromkeys(document_ids)]
        looks = await self.ledger.look(keys)
        return [
            key
            for key, look in zip(keys, looks, strict=True)
            if look is not None
            and finding.shows(principal, look.revision(look.row.seq))
            and reason in (None, look.row.reason)
        ]

    async def _letters(
        self, principal: credentials.Principal, reason: Reason | None, uid: CollectionUid | None, *, after: str
    ) -> AsyncIterator[histories.DeadLetter]:
        """All that the key sees, page by page."""
        while True:
            page = await self.history.dead_letters(principal.tenant, reason=reason, uid=uid, after=after, limit=PAGE)
            for letter in await self._seen(principal, page):
                yield letter
            if len(page) < PAGE:
                return
            after = _cursor(page[-1])

    async def _seen(
        self, principal: credentials.Principal, page: list[histories.DeadLetter]
    ) -> list[histories.DeadLetter]:
        seen = [letter for letter in page if principal.sees(letter.collection)]
        if principal.filter is None or not seen:
            return seen
        looks = await self.ledger.look([letter.row.key for letter in seen])
        return [
            letter
            for letter, look in zip(seen, looks, strict=True)
            if look is not None and finding.shows(principal, look.revision(look.row.seq))
        ]


def _cursor(letter: histories.DeadLetter) -> str:
    return f"{letter.collection}/{letter.row.key.document_id}"


def _json(letter: histories.DeadLetter, *, now: float) -> answering.Json:
    row = letter.row
    return {
        "collection": letter.collection,
        "document_id": row.key.document_id,
        **answering.state_of(row, now=now),
        "first_failure_at": answering.timestamp(row.first_failure_at),
        "last_failure_at": answering.timestamp(row.last_failure_at),
        "status_url": answering.status_url(letter.collection, row.key.document_id),
    }
