import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.domain import credentials
from bloomweaver.runtime.web import answers, authentication, bodies, paths
from tests.support import web

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}


class Note(bodies.Body):
    text: str


def notes():
    router = paths.router()

    @router.post("/v1/notes/{name:segment}")
    async def write(request: Request, name: str) -> Response:
        authentication.principal_of(request, credentials.Verb.WRITE)
        await bodies.read_json(request, Note)
        return answers.as_json({}, status=202)

    return router


async def test_health_and_readiness_need_no_key():
    async with web.stack().client() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_an_unready_process_says_what_is_missing():
    async with web.stack(obstacles=["the model is loading"]).client() as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["obstacles"]) == (503, ["the model is loading"])


async def test_requests_are_counted_by_route_and_never_by_path():
    stack = web.stack(notes())
    async with stack.client(stack.keys.add()) as client:
        await client.post("/v1/notes/private-name", json={"text": "x"})
        await client.post("/v1/notes/private-name", json={"text": 1})
        await client.get("/scanner/private-name")
        exposition = (await client.get("/metrics")).text
    assert stack.collector.get_sample_value(
        "bloomweaver_http_request_duration_seconds_count",
        {"method": "POST", "route": "/v1/notes/{name}", "code": "202"},
    ) == 1  # fmt: skip
    assert stack.collector.get_sample_value("bloomweaver_http_refusals_total", {"reason": "invalid_request"}) == 1
    assert 'route="unmatched"' in exposition
    assert "private-name" not in exposition


async def test_the_log_names_who_asked_what_and_how_it_ended_and_no_content():
    stack = web.stack(notes())
    key = stack.keys.add()
    with structlog.testing.capture_logs() as lines:
        async with stack.client(key) as client:
            await client.post("/v1/notes/private-name?q=private-name", json={"text": "private-name", "more": 1})
            await client.get("/healthz")
    assert len(lines) == 1
    assert {**lines[0], "duration_seconds": 0} == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "route": "/v1/notes/{name}",
        "status": 422,
        "reason": "invalid_request",
        "duration_seconds": 0,
        "request_id": lines[0]["request_id"],
        "tenant": "acme",
        "key_id": key.id,
    }


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_what_needs_no_key_is_readable_without_one(path):
    async with web.stack(notes()).client() as client:
        assert (await client.get(path)).status_code == 200


def test_every_route_is_below_v1_or_public():
    routes = {getattr(route, "path_format", "") for route in web.stack(notes()).app.routes}
    assert {path for path in routes if not path.startswith(("/v1/", "/docs/"))} == PUBLIC


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "FOO"])
async def test_unusual_methods_are_refused_politely(method):
    stack = web.stack(notes())
    async with stack.client(stack.keys.add()) as client:
        assert (await client.request(method, "/v1/notes/x")).status_code == 405


async def test_a_client_that_leaves_is_noted_and_is_no_error_of_ours():
    stack = web.stack(notes())
    key = stack.keys.add()

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there to answer")

    scope = {
        "type": "http", "method": "POST", "path": "/v1/notes/x", "raw_path": b"/v1/notes/x", "query_string": b"",
        "headers": [(b"authorization", f"Bearer {key.secret}".encode()), (b"content-type", b"application/json")],
    }  # fmt: skip
    with structlog.testing.capture_logs() as lines:
        await stack.app(scope, receive, send)
    assert [(line["status"], line["reason"], line["log_level"]) for line in lines] == [
        (499, "client_disconnected", "info")
    ]
