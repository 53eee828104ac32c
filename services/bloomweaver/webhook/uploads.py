"""Uploads: a file in a form, with the same result as an event. Text, Markdown and HTML from the start.

The form is read by the framework's parser from a body that was counted before, and nothing of it touches a disk.
"""

import pathlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final

import fastapi
from starlette import datastructures, formparsers, requests, responses

from bloomweaver.domain import errors, identity
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, authentication, bodies, limits, paths, strict_json
from bloomweaver.webhook import accepting, answering, changes, documents, parameters
from bloomweaver.webhook.schemas import events as schemas

FORM: Final = "multipart/form-data"
FIELDS: Final = (
    "collection",
    "document_id",
    "title",
    "url",
    "metadata",
    "source_version",
    "media_type",
    "origin",
    "batch_id",
    "occurred_at",
)
MAX_FIELD_BYTES: Final = 64 * 1024
BY_SUFFIX: Final[Mapping[str, str]] = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
}
UNSAID: Final = frozenset({"", "application/octet-stream"})


class _Parser(formparsers.MultiPartParser):
    spool_max_size = limits.ONE_EVENT_BYTES + 1


@dataclass(frozen=True, slots=True)
class _Form:
    fields: Mapping[str, str]
    data: bytes
    filename: str
    content_type: str


@dataclass(frozen=True, slots=True)
class UploadRoutes:
    """The endpoint."""

    acceptor: accepting.Acceptor
    media_types: frozenset[str]

    def router(self) -> fastapi.APIRouter:
        """The route."""
        made = paths.router(tags=["documents"])
        result = {"model": schemas.Result}
        made.add_api_route(
            "/v1/uploads",
            self.upload,
            methods=["POST"],
            status_code=202,
            summary="Send a file",
            responses={202: result, 200: result},
            openapi_extra=parameters.documented(*parameters.WAITING, **_body()),
        )
        return made

    async def upload(self, request: requests.Request) -> responses.Response:
        """Accept a file. Without `document_id` its name is the id."""
        principal = authentication.principal_of(request, Verb.WRITE)
        wait = parameters.wait_of(parameters.read(request, *parameters.WAITING))
        limits.media_type(request, {FORM})
        form = await _read(request)
        essence = self._media_type(form)
        document_id = form.fields.get("document_id") or form.filename
        if not document_id:
            changes.refuse("/document_id", "a document id is required where the file has no name")
        text = documents.raw_document(form.data, essence, query={})["text"]
        given: dict[str, object] = {
            name: value for name, value in form.fields.items() if name not in ("collection", "document_id", "metadata")
        }
        if "metadata" in form.fields:
            given["metadata"] = _json_field(form.fields["metadata"])
        submission = changes.of_document(
            {**given, "text": text, "media_type": essence},
            collection=form.fields.get("collection", identity.DEFAULT_COLLECTION),
            document_id=document_id,
            event_id=limits.header_id(request, "idempotency-key"),
        )
        sender = accepting.sender_of(principal)
        accepted, json, status = await self.acceptor.one(submission, sender=sender, wait=wait)
        return answers.as_json(json, status=status, headers=answering.etag(accepted.seq))

    def _media_type(self, form: _Form) -> str:
        """What the form says, else the part, else the file's name."""
        essence = changes.media_type_of(form.fields.get("media_type") or form.content_type)
        if essence in UNSAID:
            essence = BY_SUFFIX.get(pathlib.PurePosixPath(form.filename).suffix.lower(), essence)
        if essence not in self.media_types:
            known = ", ".join(sorted(self.media_types))
            detail = f"a file is one of {known}"
            raise errors.Refusal(
                Reason.UNSUPPORTED_MEDIA_TYPE, f"{detail.capitalize()}.", pointers=(("/file", detail),)
            )
        return essence


async def _read(request: requests.Request) -> _Form:
    body = await limits.read_body(request, limit_bytes=limits.ONE_EVENT_BYTES)

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _Parser(request.headers, stream(), max_files=1, max_fields=len(FIELDS), max_part_size=MAX_FIELD_BYTES)
    try:
        form = await parser.parse()
    except (formparsers.MultiPartException, KeyError, UnicodeDecodeError):
        raise errors.Refusal(Reason.INVALID_REQUEST, "The body is not a form that can be read.") from None
    try:
        fields: dict[str, str] = {}
        file: datastructures.UploadFile | None = None
        for name, value in form.multi_items():
            if isinstance(value, datastructures.UploadFile):
                if name != "file":
                    changes.refuse(f"/{name[:64]}", "the file's field is named file")
                file = value
                continue
            if name not in FIELDS:
                changes.refuse(f"/{name[:64]}", f"an unknown field; there are file, {', '.join(FIELDS)}")
            if name in fields:
                changes.refuse(f"/{name}", "a field is given once")
            fields[name] = value
        if file is None:
            changes.refuse("/file", "a file is required")
        return _Form(fields, await file.read(), file.filename or "", file.content_type or "")
    finally:
        await form.close()


def _json_field(text: str) -> object:
    try:
        return strict_json.loads(text.encode("utf-8", "surrogatepass"))
    except errors.Refusal as refusal:
        raise errors.Refusal(refusal.reason, refusal.detail, pointers=(("/metadata", refusal.detail),)) from None


def _body() -> dict[str, object]:
    text = {"type": "string"}
    schema = {
        "title": "Upload",
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}, **dict.fromkeys(FIELDS, text)},
    }
    return bodies.operation_of({FORM: schema})
