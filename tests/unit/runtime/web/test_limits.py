import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, limits, paths
from tests.support import web


def request_of(*messages, headers=()):
    waiting = list(messages)

    async def receive():
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(n.encode(), v.encode()) for n, v in headers]}
    return Request(scope, receive)


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


async def reason_of(request, **options):
    with pytest.raises(errors.Refusal) as caught:
        await limits.read_body(request, **{"limit_bytes": 10, **options})
    return caught.value.reason


async def test_a_body_in_parts_is_put_together():
    request = request_of(part(b"ab", more=True), part(b"", more=True), part(b"cd"))
    assert await limits.read_body(request, limit_bytes=4) == b"abcd"


async def test_a_body_is_counted_while_it_streams():
    endless = [part(b"x" * 4, more=True)] * 100
    assert await reason_of(request_of(*endless)) is Reason.TOO_LARGE


async def test_a_declared_length_over_the_limit_is_refused_unread():
    for length in ("11", "9" * 30):
        assert await reason_of(request_of(headers=[("content-length", length)])) is Reason.TOO_LARGE


async def test_a_declared_length_that_lies_gains_nothing():
    request = request_of(part(b"x" * 11), headers=[("content-length", "1")])
    assert await reason_of(request) is Reason.TOO_LARGE


async def test_a_body_that_stops_arriving_is_given_up():
    assert await reason_of(request_of(part(b"x", more=True)), idle_seconds=0.001) is Reason.REQUEST_TIMEOUT


async def test_a_client_that_leaves_ends_the_reading():
    with pytest.raises(ClientDisconnect):
        await limits.read_body(request_of(part(b"x", more=True), {"type": "http.disconnect"}), limit_bytes=10)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", ""])
async def test_any_content_encoding_is_refused(encoding):
    request = request_of(part(b""), headers=[("content-encoding", encoding)])
    assert await reason_of(request) is Reason.UNSUPPORTED_ENCODING


@pytest.mark.parametrize(
    "header",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_a_known_content_type_is_recognised(header):
    found = limits.media_type(request_of(headers=[("content-type", header)]), {"application/json"})
    assert found.name == "application/json"


@pytest.mark.parametrize("headers", [
    [], [("content-type", "")], [("content-type", "text/plain")], [("content-type",
    "application/json; charset=utf-16")],
    [("content-type", "application/json"), ("content-type", "application/json")], [("content-type", "json")],
    [("content-type", "application/json, text/plain")],
])  # fmt: skip
def test_other_content_types_are_refused(headers):
    with pytest.raises(errors.Refusal) as caught:
        limits.media_type(request_of(headers=headers), {"application/json"})
    assert caught.value.reason is Reason.UNSUPPORTED_MEDIA_TYPE


def test_an_id_from_a_header_is_bounded():
    assert limits.header_id(request_of(), "idempotency-key") is None
    assert limits.header_id(request_of(headers=[("idempotency-key", "a b~")]), "idempotency-key") == "a b~"
    for values in ([""], ["x" * 257], ["a\x7f"], ["é"], ["a", "a"]):
        request = request_of(headers=[("idempotency-key", value) for value in values])
        with pytest.raises(errors.Refusal):
            limits.header_id(request, "idempotency-key")


async def test_above_its_bound_the_server_says_so_and_recovers():
    entered, leave = asyncio.Event(), asyncio.Event()
    router = paths.router()

    @router.get("/v1/slow")
    async def slow(request: Request) -> Response:
        entered.set()
        await leave.wait()
        return answers.as_json({})

    stack = web.stack(router, max_concurrent_requests=1)
    async with stack.client(stack.keys.add()) as client:
        first = asyncio.create_task(client.get("/v1/slow"))
        await entered.wait()
        refused = await client.get("/v1/slow")
        assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).status_code == 200
        leave.set()
        assert (await first).status_code == 200
        assert (await client.get("/v1/slow")).status_code == 200
