"""Paths are routed as they were sent, so that an encoded slash is part of an id and not the end of it.

Servers decode a path before the framework sees it; then `a%2Fb` and `a/b` are the same and a document id with a slash
cannot be addressed. `Middleware` puts the raw path back and the convertors below decode one segment each, strictly:

    router = paths.router()
    @router.get("/v1/collections/{collection:collection}/documents/{document_id:document_id}")
    async def get_document(request: Request, collection: str, document_id: str) -> Response: ...

`{name:segment}` is any other decoded text. A bare `{name}` stays percent-encoded: not for what people choose.
"""

import contextlib
import inspect
import sys
import typing
import urllib.parse
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import fastapi
from fastapi import routing
from fastapi.dependencies import models
from starlette import convertors, requests, responses, types

from bloomweaver.domain import errors, identity
from bloomweaver.domain.reasons import Reason

MAX_SEGMENT_BYTES: Final = 512


class SegmentConvertor(convertors.Convertor[str]):
    """One segment of 1 to 512 bytes of UTF-8 without control characters."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """The decoded segment, or a Refusal."""
        text = _decode(value)
        if text is None or len(text.encode()) > MAX_SEGMENT_BYTES or not text.isprintable():
            raise errors.Refusal(Reason.INVALID_REQUEST, "A segment of the path is not readable text.")
        return text

    def to_string(self, value: str) -> str:
        """The segment as it stands in a path."""
        return encode(value)


class CollectionConvertor(SegmentConvertor):
    """The name of a collection."""

    def convert(self, value: str) -> str:
        """The name, or a Refusal."""
        name = _decode(value)
        if name is None or not identity.valid_collection_name(name):
            detail = "A name is a letter a-z or digit, then up to 62 of a-z, 0-9, '.', '_' and '-'."
            raise errors.Refusal(Reason.INVALID_COLLECTION_NAME, detail)
        return name


class DocumentIdConvertor(SegmentConvertor):
    """A document id; slashes in it are encoded."""

    def convert(self, value: str) -> str:
        """The id, or a Refusal."""
        document_id = _decode(value)
        if document_id is None or not identity.valid_document_id(document_id):
            detail = "An id is 1 to 512 bytes of UTF-8 without control characters and without '.' or '..' as a segment."
            raise errors.Refusal(Reason.INVALID_DOCUMENT_ID, detail)
        return document_id


class Middleware:
    """Routes by the path as it was sent; paths without one (test clients) are encoded again."""

    def __init__(self, app: types.ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> Awaitable[None]:
        """ASGI."""
        if scope["type"] == "http":
            raw: bytes | None = scope.get("raw_path")
            if raw is None:
                raw = urllib.parse.quote(scope["path"]).encode("ascii")
            # Latin-1 keeps bytes beyond ASCII as they are: a convertor decodes them, a route without one never matches.
            scope["raw_path"], scope["path"] = raw, raw.partition(b"?")[0].decode("latin-1")
        return self._app(scope, receive, send)


class DirectRoute(routing.APIRoute):
    """Calls an endpoint as it is, if it takes the request and segments of the path and returns a Response.

    The framework's way through dependencies and validation costs more than the rest of an accept; such an endpoint has
    nothing for it to do. The OpenAPI document is the same.
    """

    def get_route_handler(self) -> Callable[[requests.Request], Coroutine[Any, Any, responses.Response]]:
        """The short way where it is the same, else the framework's."""
        endpoint: Callable[..., Awaitable[responses.Response]] = self.endpoint
        if not _is_direct(endpoint, self.dependant):
            return super().get_route_handler()
        request_name = self.dependant.request_param_name or ""
        segments = tuple(parameter.name for parameter in self.dependant.path_params)

        async def handle(request: requests.Request) -> responses.Response:
            found = request.path_params
            return await endpoint(**{request_name: request}, **{name: found[name] for name in segments})

        return handle


def router(**options: Any) -> fastapi.APIRouter:
    """An APIRouter that knows the convertors `collection`, `document_id` and `segment`. Options are FastAPI's."""
    # For every route the framework asks whether a type is of the first pydantic, and would import all of that for it.
    # None marks a module as not installed.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # typeshed does not know the marker
    convertors.register_url_convertor("segment", SegmentConvertor())
    convertors.register_url_convertor("collection", CollectionConvertor())
    convertors.register_url_convertor("document_id", DocumentIdConvertor())
    return fastapi.APIRouter(redirect_slashes=False, **{"route_class": DirectRoute, **options})


def encode(segment: str) -> str:
    """One segment for a path or a `status_url`: slashes too are encoded."""
    return urllib.parse.quote(segment, safe="")


def _is_direct(endpoint: Callable[..., object], dependant: models.Dependant) -> bool:
    hints = typing.get_type_hints(endpoint)
    returned = hints.get("return")
    parameters = set(hints) - {"return", dependant.request_param_name}
    return (
        inspect.iscoroutinefunction(endpoint)
        and inspect.isclass(returned)
        and issubclass(returned, responses.Response)
        and dependant.request_param_name is not None
        and not dependant.dependencies
        and parameters == {parameter.name for parameter in dependant.path_params}
        and all(hints[name] is str for name in parameters)
    )


def _decode(value: str) -> str | None:
    with contextlib.suppress(UnicodeError):
        return urllib.parse.unquote_to_bytes(value.encode("latin-1")).decode("utf-8")
    return None
