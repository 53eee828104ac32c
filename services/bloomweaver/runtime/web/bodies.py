"""Request bodies: counted, parsed strictly, then checked against a model that refuses what it does not know.

    class NewKey(bodies.Body):
        name: str = pydantic.Field(min_length=1, max_length=200)

    @router.post("/v1/keys", openapi_extra=bodies.operation(NewKey))
    async def create_key(request: Request) -> Response:
        principal = authentication.principal_of(request, Verb.ADMIN)
        new_key = await bodies.read_json(request, NewKey)

The framework's own parsing is not used: it takes byte order marks, duplicate keys and UTF-16. Models are validated in
pydantic's JSON mode, where times are strings and tuples are arrays and nothing else is converted.
"""

import json
from collections.abc import Mapping
from typing import Final, TypeVar

import pydantic
from starlette import requests

from bloomweaver.domain import errors, metadata
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import limits, strict_json

JSON: Final = frozenset({"application/json"})

_MAX_POINTERS: Final = 20


class Body(pydantic.BaseModel):
    """The base of every request body: frozen, strict, unknown fields refused, values kept out of error messages."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


BodyT = TypeVar("BodyT", bound=pydantic.BaseModel)


async def read_json(request: requests.Request, model: type[BodyT], *, limit_bytes: int = limits.SMALL_BYTES) -> BodyT:
    """The body as the model, or the Refusal that the contract names: 400, 413, 415 or 422."""
    limits.media_type(request, JSON)
    body = await limits.read_body(request, limit_bytes=limit_bytes)
    strict_json.loads(body)
    return validate_json(model, body)


async def read_value(request: requests.Request, *, limit_bytes: int = limits.SMALL_BYTES) -> object:
    """The body as JSON values, for a route that takes several shapes and calls `validate` on each part."""
    return strict_json.loads(await limits.read_body(request, limit_bytes=limit_bytes))


def validate(model: type[BodyT], value: object, *, pointer: str = "") -> BodyT:
    """A JSON value as the model. `pointer` leads to the value in the whole body."""
    return validate_json(model, json.dumps(value, ensure_ascii=False).encode(), pointer=pointer)


def validate_json(model: type[BodyT], text: bytes, *, pointer: str = "") -> BodyT:
    """JSON that `strict_json` let through as the model."""
    try:
        return model.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise refusal(error, pointer=pointer) from None


def refusal(error: pydantic.ValidationError, *, pointer: str = "") -> errors.Refusal:
    """What is wrong, field by field, without repeating what was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    pointers = tuple((_pointer(item["loc"], pointer), item["msg"]) for item in found[:_MAX_POINTERS])
    first, detail = pointers[0]
    return errors.Refusal(Reason.INVALID_REQUEST, f"{first[:100] or 'The body'}: {detail}.", pointers=pointers)


def operation(
    model: type[pydantic.BaseModel], *, media_types: tuple[str, ...] = ("application/json",), required: bool = True
) -> dict[str, object]:
    """For a route's `openapi_extra`: the body that the route reads by itself, so that the document is complete."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return operation_of(dict.fromkeys(media_types, schema), required=required)


def operation_of(schemas: Mapping[str, Mapping[str, object]], *, required: bool = True) -> dict[str, object]:
    """As `operation`, for a route with another schema per media type. Titled schemas become named components."""
    content = {media_type: {"schema": dict(schema)} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": required, "content": content}}


def _pointer(location: tuple[int | str, ...], prefix: str) -> str:
    return prefix + "".join(f"/{metadata.escape(str(part))}" for part in location)
