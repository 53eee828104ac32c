"""Every error of the HTTP surface as `application/problem+json` (RFC 9457), from one table of reasons.

Routes raise domain errors and know nothing of statuses; `Middleware` turns whatever leaves a route into the one shape.
Invariants: a client never sees a traceback or the text of a document; what a client sent never makes a 500; 429 and 503
always say when to come back.

    raise errors.Refusal(Reason.DOCUMENT_NOT_FOUND, "There is no document 'a' in 'handbook'.")
    {"index": 3, "error": problems.document(error, instance="/v1/events")}     # for one rejected item of several
"""

import json
import math
from collections.abc import Mapping
from typing import Final, TypeAlias

from fastapi import exceptions as fastapi_exceptions
from starlette import exceptions as starlette_exceptions
from starlette import requests, responses, types

from bloomweaver import logger
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

Problem: TypeAlias = dict[str, object]

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 20
OPENAI_PATHS: Final = frozenset({"/v1/embeddings", "/v1/models"})
REASON_KEY: Final = "bloomweaver.reason"

HEADERS_KEY: Final = "bloomweaver.headers"
"""In the scope: headers that an inner layer wants on every answer, also on a problem."""
_MAX_INSTANCE_CHARACTERS: Final = 2048
_MAX_POINTER_CHARACTERS: Final = 256

# Reason to status and title. A reason that is not here never begins an answer by itself; see `status_of`.
TABLE: Final[Mapping[Reason, tuple[int, str]]] = {
    Reason.MALFORMED_JSON: (400, "The body is not strict JSON"),
    Reason.INVALID_REQUEST: (422, "The request is not of the expected shape"),
    Reason.INVALID_CURSOR: (422, "The cursor is not one of ours"),
    Reason.INVALID_DOCUMENT_ID: (422, "The document id is not allowed"),
    Reason.INVALID_COLLECTION_NAME: (422, "The collection name is not allowed"),
    Reason.INVALID_METADATA: (422, "The metadata is not allowed"),
    Reason.INVALID_FILTER: (422, "The filter is not one"),
    Reason.EMPTY_TEXT: (422, "The text is empty"),
    Reason.TOO_LARGE: (413, "The request is too large"),
    Reason.TOO_MANY_ITEMS: (413, "Too many items in one call"),
    Reason.UNSUPPORTED_MEDIA_TYPE: (415, "The media type is not supported"),
    Reason.UNSUPPORTED_ENCODING: (415, "Compressed bodies are not accepted"),
    Reason.SOURCE_VERSION_REQUIRED: (422, "A source version is required"),
    Reason.SOURCE_VERSION_REFUSED: (422, "A source version is not allowed here"),
    Reason.EVENT_ID_REUSED: (422, "The event id was used for other content"),
    Reason.EVENT_IN_PROGRESS: (409, "The same event is being decided"),
    Reason.PRECONDITION_FAILED: (412, "The precondition does not hold"),
    Reason.ORDERING_FIXED: (409, "The ordering of a collection is fixed"),
    Reason.CONFIRMATION_REQUIRED: (422, "The confirmation is missing"),
    Reason.REINDEX_CONFLICT: (409, "The re-index is not in a state for this"),
    Reason.LAST_ADMIN_KEY: (409, "The last admin key stays"),
    Reason.ALREADY_EXISTS: (409, "It exists already"),
    Reason.MIN_SCORE_NEEDS_ONE_SPACE: (422, "A minimal score needs one embedding space"),
    Reason.UNAUTHENTICATED: (401, "A valid API key is required"),
    Reason.FORBIDDEN: (403, "The API key may not do this"),
    Reason.INVALID_SIGNATURE: (401, "The signature is not valid"),
    Reason.NOT_FOUND: (404, "There is nothing here"),
    Reason.COLLECTION_NOT_FOUND: (404, "There is no such collection"),
    Reason.DOCUMENT_NOT_FOUND: (404, "There is no such document"),
    Reason.DOCUMENT_DELETED: (404, "The document is deleted"),
    Reason.EVENT_NOT_FOUND: (404, "There is no such event"),
    Reason.BATCH_NOT_FOUND: (404, "There is no such batch"),
    Reason.MODEL_NOT_FOUND: (422, "There is no such model"),
    Reason.KEY_NOT_FOUND: (404, "There is no such key"),
    Reason.SOURCE_NOT_FOUND: (404, "There is no such source"),
    Reason.METHOD_NOT_ALLOWED: (405, "The method is not allowed here"),
    Reason.REQUEST_TIMEOUT: (408, "The body did not arrive in time"),
    Reason.RATE_LIMITED: (429, "Too many requests"),
    Reason.OVERLOADED: (503, "The server is busy"),
    Reason.LEDGER_UNAVAILABLE: (503, "The ledger cannot be reached"),
    Reason.QUEUE_UNAVAILABLE: (503, "The queue cannot be reached"),
    Reason.BLOBS_UNAVAILABLE: (503, "The blob store cannot be reached"),
    Reason.VECTORS_UNAVAILABLE: (503, "The vector store cannot be reached"),
    Reason.EMBEDDER_UNAVAILABLE: (503, "The embedder cannot be reached"),
    Reason.SEARCH_CONFLICT: (503, "Documents changed while searching"),
    Reason.DISK_FULL: (503, "The disk is full"),
    Reason.SHUTTING_DOWN: (503, "The server is shutting down"),
    Reason.INTERNAL_ERROR: (500, "Something went wrong on our side"),
    Reason.OLDER_THAN_CURRENT: (409, "What is there is newer"),
    Reason.TEXT_TOO_LONG: (422, "The text is longer than the model reads"),
    Reason.DATABASE_LOCKED: (503, "The database is locked by another process"),
}

_FALLBACK_TITLE: Final = "The request could not be done"
_REASON_OF_STATUS: Final = {
    400: Reason.INVALID_REQUEST,
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    413: Reason.TOO_LARGE,
    415: Reason.UNSUPPORTED_MEDIA_TYPE,
}


def status_of(error: errors.BloomWeaverError) -> int:
    """The HTTP status of an error: by its reason, else by what kind of error it is."""
    known = TABLE.get(error.reason)
    if known:
        return known[0]
    return 422 if isinstance(error, errors.Refusal | errors.PermanentError) else 503


def document(error: errors.BloomWeaverError, *, instance: str) -> Problem:
    """The problem document of an error. `instance` is the path of the request, as it was sent."""
    known = TABLE.get(error.reason)
    problem: Problem = {
        "type": f"/docs/reasons/{error.reason.value}",
        "title": known[1] if known else _FALLBACK_TITLE,
        "status": status_of(error),
        "detail": error.detail,
        "instance": instance,
        "reason": error.reason.value,
    }
    if isinstance(error, errors.Refusal) and error.pointers:
        problem["errors"] = [
            {"pointer": pointer[:_MAX_POINTER_CHARACTERS], "detail": detail}
            for pointer, detail in error.pointers[:MAX_ERRORS]
        ]
    return problem


def response(error: errors.BloomWeaverError, scope: types.Scope, *, status: int | None = None) -> responses.Response:
    """The whole answer to an error, with the headers that its status asks for."""
    problem = document(error, instance=instance_of(scope))
    status = status or status_of(error)
    problem["status"] = status
    scope[REASON_KEY] = error.reason.value
    if scope["path"] in OPENAI_PATHS:
        problem["error"] = _openai_error(error, status)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="bloomweaver"'
    headers.update(scope.get(HEADERS_KEY, {}))
    if status in (429, 503):
        headers["Retry-After"] = str(_retry_after_seconds(error))
    body = json.dumps(problem, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return responses.Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def instance_of(scope: types.Scope) -> str:
    """The path of the request as it was sent: what a problem names as its instance."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("ascii", "replace")[:_MAX_INSTANCE_CHARACTERS]


class Middleware:
    """Answers for every error that leaves the application; what nobody foresaw is `internal_error` and is logged."""

    def __init__(self, app: types.ASGIApp) -> None:
        self._app = app
        self._log = logger.get("bloomweaver.web")

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: types.Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except errors.BloomWeaverError as error:
            if started:
                raise
            await response(error, scope)(scope, receive, send)
        except requests.ClientDisconnect:
            scope[REASON_KEY] = "client_disconnected"
        except Exception:  # the one place where the unforeseen becomes an answer
            self._log.exception("request failed", reason=Reason.INTERNAL_ERROR.value)
            if started:
                raise
            await response(internal_error(), scope)(scope, receive, send)


def internal_error() -> errors.BloomWeaverError:
    """What a client is told of an error that we did not foresee."""
    return errors.BloomWeaverError(
        Reason.INTERNAL_ERROR, "The request failed for a reason on our side; the log has it under the X-Request-Id."
    )


async def on_http_exception(request: requests.Request, error: Exception) -> responses.Response:
    """Answers the framework's own errors: unknown path, wrong method, a form that is too large."""
    assert isinstance(error, starlette_exceptions.HTTPException)
    reason = _REASON_OF_STATUS.get(error.status_code, Reason.INVALID_REQUEST)
    if error.status_code >= 500:
        reason = Reason.INTERNAL_ERROR
    detail = {
        Reason.NOT_FOUND: "No route has this path; /docs lists all.",
        Reason.METHOD_NOT_ALLOWED: "This path has other methods; the Allow header lists them.",
    }.get(reason, "The request could not be read.")
    answer = response(errors.Refusal(reason, detail), request.scope, status=error.status_code)
    if error.headers:
        answer.headers.update(error.headers)
    return answer


async def on_validation_error(request: requests.Request, error: Exception) -> responses.Response:
    """Answers query and path parameters of the wrong shape."""
    assert isinstance(error, fastapi_exceptions.RequestValidationError)
    pointers = tuple(
        ("/" + "/".join(str(part) for part in item["loc"][1:]), str(item["msg"])) for item in error.errors()
    )
    refusal = errors.Refusal(Reason.INVALID_REQUEST, "A parameter is not of the expected shape.", pointers=pointers)
    return response(refusal, request.scope)


def _retry_after_seconds(error: errors.BloomWeaverError) -> int:
    if isinstance(error, errors.TransientError):
        return max(1, math.ceil(error.retry_after_seconds))
    return 1


def _openai_error(error: errors.BloomWeaverError, status: int) -> dict[str, object]:
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"message": error.detail, "type": kind, "param": None, "code": error.reason.value}
