"""Documents, read: the state, the list, the text as sent and as extracted, the live chunks, and why.

Text goes out as plain text that a browser neither sniffs nor runs, whatever it was sent as.
"""

from collections.abc import Callable
from typing import Final

import fastapi
from starlette import requests, responses

from bloomweaver.domain import errors, steps
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.documents import DocumentKey, Revision, Row, State
from bloomweaver.domain.identity import DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import history, ledger, queues
from bloomweaver.runtime.web import answers, authentication, paths
from bloomweaver.webhook import answering, changes, documents, explaining, finding, parameters, service
from bloomweaver.webhook.schemas import documents as schemas

LIST: Final = ("state", "prefix", "since", "origin", *parameters.PAGING)

_TEXT_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}


class DocumentViews:
    """The endpoints that read documents. extract: the readable text of a text of some media type."""

    def __init__(
        self,
        *,
        service: service.WebhookService,
        finder: finding.Finder,
        ledger: ledger.Ledger,
        history: history.History,
        queues: queues.Queues,
        clock: clocks.Clock,
        extract: Callable[[str, str], str],
    ) -> None:
        self._service = service
        self._finder = finder
        self._ledger = ledger
        self._history = history
        self._queues = queues
        self._clock = clock
        self._extract = extract

    def router(self) -> fastapi.APIRouter:
        """The routes."""
        made = paths.router(tags=["documents"])
        made.add_api_route(
            "/v1/collections/{collection:collection}/documents",
            self.page,
            methods=["GET"],
            summary="Documents by id",
            responses={200: {"model": schemas.DocumentList}},
            openapi_extra=parameters.documented(*LIST),
        )
        made.add_api_route(
            documents.PATH,
            self.get,
            methods=["GET"],
            summary="One document and its state",
            responses={200: {"model": schemas.Document}},
        )
        self._add_parts(made)
        return made

    def _add_parts(self, made: fastapi.APIRouter) -> None:
        """What a document consists of, and why it is as it is."""
        made.add_api_route(
            f"{documents.PATH}/text",
            self.text,
            methods=["GET"],
            summary="The text",
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
            openapi_extra=parameters.documented("version", "form"),
        )
        made.add_api_route(
            f"{documents.PATH}/chunks",
            self.chunks,
            methods=["GET"],
            summary="The chunks that search shows",
            responses={200: {"model": schemas.ChunkList}},
            openapi_extra=parameters.documented(*parameters.PAGING),
        )
        made.add_api_route(
            f"{documents.PATH}/why",
            self.why,
            methods=["GET"],
            summary="Why it is as it is, and what happens next",
            responses={200: {"model": schemas.Why}},
        )

    async def page(self, request: requests.Request, collection: str) -> responses.Response:
        """Documents by id; deleted ones only where `state=deleted` asks for them."""
        principal = authentication.principal_of(request, Verb.READ)
        query = parameters.read(request, *LIST)
        page = answers.page_of(request)
        state = parameters.choice(query, "state", values=tuple(State))
        since = query.get("since")
        found = await self._finder.collection(principal, collection)
        listing = ledger.Listing(
            found.uid,
            after=page.after or "",
            limit=page.limit + 1,
            state=State(state) if state else None,
            prefix=query.get("prefix", ""),
            since=changes.moment_of(since, "/since") if since else None,
            origin=query.get("origin"),
        )
        items: list[tuple[Row, Revision]] = []
        async for row, revision in self._finder.documents(principal, listing):
            items.append((row, revision))
            if len(items) > page.limit:
                break
        now = self._clock.now()
        shown = items[: page.limit]
        after = shown[-1][0].key.document_id if len(items) > page.limit else None
        return answers.as_page([_line(row, revision, collection, now=now) for row, revision in shown], after=after)

    async def get(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """What is known of a document. A deleted one says so until its tombstone goes."""
        principal = authentication.principal_of(request, Verb.READ)
        parameters.read(request)
        look = await self._finder.look(principal, collection, document_id)
        active = look.generation.active
        live = steps.find(look.versions, look.row.live, active.pipe) if look.row.live else None
        revision = look.revision(look.row.seq)
        answer = _line(look.row, revision, collection, now=self._clock.now())
        answer["chunk_count"] = live.n_chunks if live is not None else 0
        answer["model"], answer["space"], answer["pipe"] = active.model, active.space, active.pipe
        answer["source_version"] = str(look.row.src) if look.collection.ordering.value == "source" else None
        if revision is not None:
            answer["actor"], answer["request_id"], answer["event_id"] = (
                revision.actor,
                revision.request_id,
                revision.event_id,
            )
        return answers.as_json(answer, headers=answering.etag(look.row.seq))

    async def text(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """The text as it was sent last (`version=live`: as search shows it; `form=extracted`: as offsets count it)."""
        principal = authentication.principal_of(request, Verb.READ)
        query = parameters.read(request, "version", "form")
        version = parameters.choice(query, "version", values=("desired", "live"))
        form = parameters.choice(query, "form", values=("sent", "extracted"))
        look = await self._finder.look(principal, collection, document_id)
        if look.row.tomb:
            raise documents.deleted()
        seq = look.row.live if version == "live" else look.row.seq
        revision = look.revision(seq)
        if revision is None or revision.content is None or not finding.shows(principal, revision):
            raise errors.Refusal(Reason.DOCUMENT_NOT_FOUND, "Search does not show any version of the document yet.")
        content = revision.content
        text = await self._service.text(content)
        if form == "extracted":
            text = self._extract(text, content.media_type)
        headers = {**_TEXT_HEADERS, **answering.etag(seq), "X-Media-Type": content.media_type}
        return responses.Response(text.encode(), media_type="text/plain; charset=utf-8", headers=headers)

    async def chunks(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """The chunks of the version that search shows, in order."""
        principal = authentication.principal_of(request, Verb.READ)
        parameters.read(request, *parameters.PAGING)
        page = answers.page_of(request)
        begin = _index_of(page.after)
        look = await self._finder.look(principal, collection, document_id)
        if look.row.tomb:
            raise documents.deleted()
        rows = []
        if look.row.live and finding.shows(principal, look.revision(look.row.live)):
            key = DocumentKey(look.collection.uid, DocumentId(document_id))
            rows = await self._ledger.chunks(key, seq=look.row.live, pipe=look.generation.active.pipe)
        items = [
            {
                "index": chunk.index,
                "kind": chunk.kind,
                "text": chunk.text,
                "start": chunk.start,
                "end": chunk.end,
                "heading": list(chunk.heading),
                "page": chunk.page,
                "hash": chunk.hash,
            }
            for chunk in rows[begin : begin + page.limit]
        ]
        following = begin + page.limit
        return answers.as_page(items, after=str(following) if following < len(rows) else None)

    async def why(self, request: requests.Request, collection: str, document_id: str) -> responses.Response:
        """One sentence that says how it stands, one that says what comes next, and what happened so far."""
        principal = authentication.principal_of(request, Verb.READ)
        parameters.read(request)
        look = await self._finder.look(principal, collection, document_id)
        key = DocumentKey(look.collection.uid, DocumentId(document_id))
        timeline = await self._history.timeline(key)
        depths = await self._queues.depths()
        explanation = explaining.explain(look, timeline, depths)
        answer = {
            "collection": collection,
            "document_id": document_id,
            **answering.state_of(look.row, now=look.at),
            "verdict": explanation.verdict,
            "next": explanation.next,
            "timeline": [
                {
                    "at": answering.timestamp(step.at),
                    "step": step.step.value,
                    "seq": step.seq,
                    "reason": step.reason.value if step.reason else None,
                    "detail": step.detail or None,
                    "actor": step.actor or None,
                    "request_id": step.request_id or None,
                }
                for step in timeline
            ],
        }
        return answers.as_json(answer)


def _line(row: Row, revision: Revision | None, collection: str, *, now: float) -> answering.Json:
    content = revision.content if revision is not None else None
    answer: answering.Json = {
        "collection": collection,
        "document_id": row.key.document_id,
        **answering.state_of(row, now=now),
        "title": revision.meta.title if revision else None,
        "url": revision.meta.url if revision else None,
        "metadata": dict(revision.meta.metadata) if revision else {},
        "media_type": content.media_type if content else None,
        "size_bytes": content.size_bytes if content else 0,
        "tokens": revision.tokens if revision else None,
        "content_hash": row.content_hash or None,
        "origin": (revision.origin or None) if revision else None,
        "occurred_at": revision.occurred_at if revision else None,
        "accepted_at": answering.timestamp(row.accepted_at),
        "shown_at": answering.timestamp(row.shown_at),
    }
    return answer


def _index_of(after: str | None) -> int:
    if after is None:
        return 0
    if not (after.isascii() and after.isdigit() and len(after) <= 9):
        detail = "a cursor is the next_cursor of the page before, unchanged"
        raise errors.Refusal(Reason.INVALID_CURSOR, f"{detail.capitalize()}.", pointers=(("/cursor", detail),))
    return int(after)
