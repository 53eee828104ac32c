from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, paths, shortcuts
from tests.support import web


def quick():
    router = paths.router(route_class=shortcuts.Route)

    @router.post("/v1/quick")
    async def post(request: Request) -> Response:
        if await request.body() == b"no":
            raise errors.Refusal(Reason.FORBIDDEN, "No.")
        return answers.as_json({"path": request.url.path}, status=202)

    return router


async def test_a_shortcut_answers_like_any_route_and_is_counted_by_its_template():
    stack = web.stack(quick())
    async with stack.client(stack.keys.add()) as client:
        answer = await client.post("/v1/quick", content=b"yes")
    assert (answer.status_code, answer.json()) == (202, {"path": "/v1/quick"})
    assert "x-request-id" in answer.headers
    assert stack.collector.get_sample_value(
        "bloomweaver_http_request_duration_seconds_count", {"method": "POST", "route": "/v1/quick", "code": "202"}
    ) == 1  # fmt: skip


async def test_what_a_shortcut_refuses_is_a_problem():
    stack = web.stack(quick())
    async with stack.client(stack.keys.add()) as client:
        answer = await client.post("/v1/quick", content=b"no")
    assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")


async def test_a_shortcut_needs_a_key_and_its_own_method():
    stack = web.stack(quick())
    async with stack.client() as client:
        assert (await client.post("/v1/quick")).status_code == 401
    async with stack.client(stack.keys.add()) as client:
        assert (await client.get("/v1/quick")).status_code == 405
        assert (await client.post("/v1/quick/")).status_code == 404
        assert "/v1/quick" in (await client.get("/openapi.json")).json()["paths"]
