import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.runtime import context
from bloomweaver.runtime.web import answers, paths
from tests.support import web

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def echo():
    router = paths.router()

    @router.get("/context")
    async def show(request: Request) -> Response:
        here = context.current()
        return answers.as_json({"request_id": here.request_id, "traceparent": here.traceparent})

    return web.stack(router)


async def asked(headers, path="/context"):
    async with echo().client() as client:
        return await client.get(path, headers=headers)


async def test_every_answer_carries_the_name_of_its_request():
    for path in ("/context", "/nowhere", "/v1/x", "/healthz"):
        assert (await asked({}, path)).headers["x-request-id"] == "nonce1"


async def test_a_callers_name_is_kept():
    answer = await asked({"x-request-id": "order-17.b_2"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order-17.b_2"


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "a;b", "ä", '"a"', "a/b"])
async def test_a_malformed_name_is_replaced(name):
    assert (await asked({"x-request-id": name.encode()})).headers["x-request-id"] == "nonce1"


async def test_a_trace_goes_on():
    assert (await asked({"traceparent": TRACEPARENT})).json()["traceparent"] == TRACEPARENT


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", TRACEPARENT.upper(), "ff" + TRACEPARENT[2:], TRACEPARENT + "-x", TRACEPARENT[:-1],
     "00-" + "0" * 32 + TRACEPARENT[35:], TRACEPARENT[:36] + "0" * 16 + "-01"],
)  # fmt: skip
async def test_a_malformed_trace_is_ignored(traceparent):
    answer = await asked({"traceparent": traceparent})
    assert (answer.status_code, answer.json()["traceparent"]) == (200, None)


def test_outside_of_a_request_there_is_no_name():
    assert context.current() == context.RequestContext()
