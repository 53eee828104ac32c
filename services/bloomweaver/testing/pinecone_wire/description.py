"""The operations of Pinecone's API, version 2026-07, that BloomWeaver uses, as an OpenAPI description in our own words.

It follows the published description (https://github.com/pinecone-io/pinecone-api), and adds the two headers with log
sequence numbers, which the published guides and answers have and the published description lacks. Requests are checked
against it by `validation`, answers by a test.
"""

from typing import Any, Final

VERSION: Final = "2026-07"
ASCII: Final = r"^[\x01-\x7F]+$"
WRITTEN_HEADER: Final = "x-pinecone-request-lsn"
SEEN_HEADER: Final = "x-pinecone-max-indexed-lsn"

_ID: Final[dict[str, Any]] = {"type": "string", "pattern": ASCII, "minLength": 1, "maxLength": 512}
_PREFIX: Final[dict[str, Any]] = {"type": "string", "pattern": r"^[\x01-\x7F]*$", "maxLength": 512}
_LIMIT: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 100}
_NUMBERS: Final[dict[str, Any]] = {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 20000}


def _object(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, **more}
    return schema | ({"required": list(required)} if required else {})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_PAGINATION: Final = _object({"next": {"type": "string"}}, "next")
_METADATA_VALUE: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "array", "items": {"type": "string"}},
    ]
}
_VECTOR: Final = _object(
    {"id": _ID, "values": _NUMBERS, "metadata": {"type": "object", "additionalProperties": _METADATA_VALUE}},
    "id",
    "values",
)
SCHEMAS: Final[dict[str, Any]] = {
    "UpsertRequest": _object(
        {
            "vectors": {"type": "array", "items": _VECTOR, "minItems": 1, "maxItems": 1000},
            "namespace": {"type": "string"},
        },
        "vectors",
    ),
    "UpsertResponse": _object({"upsertedCount": {"type": "integer"}}, "upsertedCount"),
    "DeleteRequest": _object(
        {
            "ids": {"type": "array", "items": _ID, "minItems": 1, "maxItems": 1000},
            "namespace": {"type": "string"},
        },
        "ids",
    ),
    "DeleteResponse": _object({}),
    "QueryRequest": _object(
        {
            "namespace": {"type": "string"},
            "topK": {"type": "integer", "minimum": 1, "maximum": 10000},
            "filter": {"type": "object"},
            "includeValues": {"type": "boolean"},
            "includeMetadata": {"type": "boolean"},
            "vector": _NUMBERS,
        },
        "topK",
        "vector",
    ),
    "QueryResponse": _object(
        {
            "matches": {
                "type": "array",
                "items": _object(
                    {"id": _ID, "score": {"type": "number"}, "metadata": {"type": "object"}}, "id", "score"
                ),
            },
            "namespace": {"type": "string"},
            "usage": _object({"readUnits": {"type": "integer"}}),
        },
        "matches",
        "namespace",
    ),
    "ListResponse": _object(
        {
            "vectors": {"type": "array", "items": _object({"id": _ID}, "id")},
            "pagination": _PAGINATION,
            "namespace": {"type": "string"},
        },
        "vectors",
        "namespace",
    ),
    "ListNamespacesResponse": _object(
        {
            "namespaces": {
                "type": "array",
                "items": _object({"name": {"type": "string"}, "record_count": {"type": "string"}}, "name"),
            },
            "pagination": _PAGINATION,
            "total_count": {"type": "integer"},
        },
        "namespaces",
    ),
    "StatsRequest": _object({"filter": {"type": "object"}}),
    "StatsResponse": _object(
        {
            "namespaces": {
                "type": "object",
                "additionalProperties": _object({"vectorCount": {"type": "integer"}}),
            },
            "dimension": {"type": "integer"},
            "metric": {"type": "string"},
            "vectorType": {"type": "string"},
            "indexFullness": {"type": "number"},
            "totalVectorCount": {"type": "integer"},
        },
        "namespaces",
    ),
    "Index": _object(
        {
            "name": {"type": "string"},
            "host": {"type": "string"},
            "status": {"type": "object"},
            "schema": {"type": "object"},
            "deployment": {"type": "object"},
            "deletion_protection": {"type": "string"},
        },
        "name",
        "host",
        "status",
    ),
    "Status": _object({"code": {"type": "integer"}, "message": {"type": "string"}}, "code", "message"),
}


def _answer(description: str, schema: dict[str, Any], *, header: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    if header:
        answer["headers"] = {header: {"schema": {"type": "integer"}}}
    return answer


def _plain(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _operation(
    name: str,
    answer: str,
    *,
    body: str | None = None,
    parameters: tuple[dict[str, Any], ...] = (),
    header: str | None = None,
) -> dict[str, Any]:
    version = {"in": "header", "name": "X-Pinecone-Api-Version", "required": True, "schema": {"type": "string"}}
    operation: dict[str, Any] = {
        "operationId": name,
        "parameters": [version, *parameters],
        "responses": {
            "200": _answer("Done.", _ref(answer), header=header),
            "401": _plain("The key is not valid."),
            "429": _plain("Too many requests."),
            "4XX": _answer("The request is refused.", _ref("Status")),
            "5XX": _answer("It did not work; the effect is unknown.", _ref("Status")),
        },
    }
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return operation


def _asked(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": "query", "name": name, "schema": schema}


_PAGED: Final = (_asked("prefix", _PREFIX), _asked("limit", _LIMIT), _asked("paginationToken", {"type": "string"}))
_NAMESPACE: Final = {"in": "path", "name": "namespace", "required": True, "schema": _ID}
_INDEX: Final = {"in": "path", "name": "index_name", "required": True, "schema": {"type": "string"}}

OPERATIONS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("/indexes/{index_name}", "get"): _operation("describe_index", "Index", parameters=(_INDEX,)),
    ("/describe_index_stats", "post"): _operation("describeIndexStats", "StatsResponse", body="StatsRequest"),
    ("/vectors/upsert", "post"): _operation(
        "upsertVectors", "UpsertResponse", body="UpsertRequest", header=WRITTEN_HEADER
    ),
    ("/vectors/delete", "post"): _operation(
        "deleteVectors", "DeleteResponse", body="DeleteRequest", header=WRITTEN_HEADER
    ),
    ("/query", "post"): _operation("queryVectors", "QueryResponse", body="QueryRequest", header=SEEN_HEADER),
    ("/vectors/list", "get"): _operation(
        "listVectors", "ListResponse", parameters=(*_PAGED, _asked("namespace", {"type": "string"}))
    ),
    ("/namespaces", "get"): _operation("listNamespacesOperation", "ListNamespacesResponse", parameters=_PAGED),
    ("/namespaces/{namespace}", "delete"): _operation("deleteNamespace", "DeleteResponse", parameters=(_NAMESPACE,)),
}


def document() -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, Any] = {}
    for (path, method), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.0.3",
        "info": {"title": "What BloomWeaver uses of Pinecone", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "Api-Key"}},
        },
        "security": [{"key": []}],
    }
