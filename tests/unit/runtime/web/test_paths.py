import fastapi
import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, paths
from tests.support import web

DOCUMENTS = "/v1/collections/a/documents/"


async def refuse() -> None:
    raise errors.Refusal(Reason.FORBIDDEN)


def documents():
    router = paths.router()

    @router.get("/v1/collections/{collection:collection}/documents/{document_id:document_id}")
    async def read(request: Request, collection: str, document_id: str) -> Response:
        return answers.as_json({"collection": collection, "id": document_id})

    @router.get("/v1/collections/{collection:collection}/documents/{document_id:document_id}/why")
    async def why(request: Request, collection: str, document_id: str) -> Response:
        return answers.as_json({"why": document_id})

    @router.get("/v1/events/{event_id:segment}")
    async def event(request: Request, event_id: str) -> Response:
        return answers.as_json({"event": event_id})

    @router.get("/v1/typed/{number}")
    async def typed(request: Request, number: int, limit: int = 5) -> Response:
        return answers.as_json({"number": number, "limit": limit})

    @router.get("/v1/depending/{name}", dependencies=[fastapi.Depends(refuse)])
    async def depending(request: Request, name: str) -> Response:
        return answers.as_json({})

    return web.stack(router)


async def asked(path):
    stack = documents()
    scope_path = path.encode("latin-1") if isinstance(path, str) else path
    messages = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        messages.append(message)

    key = stack.keys.add()
    scope = {
        "type": "http", "method": "GET", "raw_path": scope_path, "path": "/decoded/by/the/server", "query_string": b"",
        "headers": [(b"authorization", f"Bearer {key.secret}".encode())], "root_path": "",
    }  # fmt: skip
    await stack.app(scope, receive, send)
    return messages[0]["status"], messages[1]["body"].decode()


@pytest.mark.parametrize(
    ("segment", "document_id"),
    [
        (b"plain", "plain"),
        (b"a%2Fb", "a/b"),
        (b"a%2fb%2fc", "a/b/c"),
        (b"%2F", "/"),
        (b"a%252Fb", "a%2Fb"),
        (b"a+b%20c", "a+b c"),
        (b"f%C3%BCr", "für"),
        ("für".encode(), "für"),
        (b"why", "why"),
        (b"a%3Fb%23c", "a?b#c"),
        (b"...", "..."),
        (b"a%2F...%2Fb", "a/.../b"),
        (b"x" * 512, "x" * 512),
        (b"%", "%"),
        (b"%zz", "%zz"),
        (b"a;b=c", "a;b=c"),
        (b"{document_id}", "{document_id}"),
    ],
)
async def test_an_encoded_id_arrives_as_it_was_meant(segment, document_id):
    status, body = await asked(DOCUMENTS.encode() + segment)
    assert (status, body) == (200, f'{{"collection":"a","id":"{document_id}"}}')


@pytest.mark.parametrize(
    "segment",
    [b".", b"..", b"%2E%2E", b"%2e", b"a%2F..%2Fb", b"..%2Fa", b"a%2F.", b"%00", b"a%0Ab", b"%7F", b"%C2%85", b"%FF",
     b"%C0%AE", b"%ED%A0%80", b"\xff", b"x" * 513, b"%C3%BC" * 257],
    ids=lambda segment: repr(segment[:12]),
)  # fmt: skip
async def test_an_id_that_is_not_allowed_is_refused(segment):
    status, body = await asked(DOCUMENTS.encode() + segment)
    assert status == 422
    assert '"reason":"invalid_document_id"' in body


@pytest.mark.parametrize("path", ["/v1/collections/A/documents/x", "/v1/collections/%2e%2e/documents/x"])
async def test_a_collection_name_that_is_not_allowed_is_refused(path):
    status, body = await asked(path)
    assert (status, '"reason":"invalid_collection_name"' in body) == (422, True)


@pytest.mark.parametrize(
    "path",
    [
        DOCUMENTS + "a/b",
        DOCUMENTS,
        DOCUMENTS + "a/",
        "//v1/events/x",
        "/v1//events/x",
        "/v1/events/x/",
        "/%76%31/events/x",
    ],
)
async def test_a_path_that_is_not_a_route_is_not_repaired(path):
    assert (await asked(path))[0] == 404


async def test_a_route_below_a_document_is_reached_by_an_encoded_id():
    assert await asked(DOCUMENTS + "a%2Fb/why") == (200, '{"why":"a/b"}')


async def test_any_readable_segment_is_decoded_and_the_unreadable_refused():
    assert await asked("/v1/events/evt%2F1%20x") == (200, '{"event":"evt/1 x"}')
    for segment in ("%0d%0a", "%ff", "x" * 513):
        assert (await asked("/v1/events/" + segment))[0] == 422


async def test_endpoints_with_parameters_of_their_own_go_the_frameworks_way():
    stack = documents()
    async with stack.client(stack.keys.add()) as client:
        assert (await client.get("/v1/typed/7?limit=3")).json() == {"number": 7, "limit": 3}
        problem = (await client.get("/v1/typed/x?limit=y")).json()
    assert (problem["status"], [error["pointer"] for error in problem["errors"]]) == (422, ["/number", "/limit"])


async def test_a_dependency_of_a_route_is_not_left_out():
    assert (await asked("/v1/depending/x"))[0] == 403


@pytest.mark.parametrize("document_id", ["a/b", "ü?#%", ".hidden", "a b"])
async def test_a_status_url_leads_back_to_its_document(document_id):
    status, body = await asked(DOCUMENTS + paths.encode(document_id))
    assert (status, body) == (200, f'{{"collection":"a","id":"{document_id}"}}')
