import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import paths, problems
from tests.support import web


def raising(error):
    router = paths.router()

    @router.get("/raise")
    async def handler(request: Request) -> Response:
        raise error

    @router.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        raise error

    return web.stack(router)


async def answer_to(error):
    async with raising(error).client() as client:
        return await client.get("/raise")


async def test_a_refusal_is_a_problem_document():
    pointers = (("/metadata/a", "a value is a string"),)
    answer = await answer_to(errors.Refusal(Reason.INVALID_METADATA, "Not allowed.", pointers=pointers))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/docs/reasons/invalid_metadata",
        "title": "The metadata is not allowed",
        "status": 422,
        "detail": "Not allowed.",
        "instance": "/raise",
        "reason": "invalid_metadata",
        "errors": [{"pointer": "/metadata/a", "detail": "a value is a string"}],
    }


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.TransientError(Reason.RATE_LIMITED, retry_after_seconds=7.2), 429, "8"),
        (errors.TransientError(Reason.LEDGER_UNAVAILABLE), 503, "1"),
        (errors.TransientError(Reason.THROTTLED, retry_after_seconds=0.1), 503, "1"),
        (errors.Refusal(Reason.SEARCH_CONFLICT), 503, "1"),
        (errors.RetryableError(Reason.EMBEDDING_FAILED), 503, "1"),
        (errors.ConfigurationError(Reason.MODEL_NOT_USABLE), 503, "1"),
        (errors.PermanentError(Reason.TEXT_TOO_LONG), 422, None),
        (errors.PermanentError(Reason.UNPARSABLE), 422, None),
        (errors.Refusal(Reason.UNAUTHENTICATED), 401, None),
        (errors.Refusal(Reason.NO_TEXT), 422, None),
    ],
)
async def test_the_status_follows_from_the_reason_and_says_when_to_come_back(error, status, retry_after):
    answer = await answer_to(error)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers.get("retry-after") == retry_after
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_the_unforeseen_is_logged_and_told_to_nobody():
    with structlog.testing.capture_logs() as lines:
        answer = await answer_to(ZeroDivisionError("the text of a document"))
    assert answer.status_code == 500
    assert answer.json()["reason"] == "internal_error"
    assert "document" not in answer.text
    assert answer.headers["x-request-id"]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["request failed"]


async def test_an_unknown_path_and_a_wrong_method_are_problems():
    async with raising(None).client() as client:
        missing = await client.get("/nowhere")
        wrong = await client.delete("/raise")
    assert (missing.status_code, missing.json()["reason"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["reason"], wrong.headers["allow"]) == (405, "method_not_allowed", "GET")


async def test_embeddings_answer_in_the_shape_that_their_clients_read():
    stack = raising(errors.Refusal(Reason.MODEL_NOT_FOUND, "There is no model 'x'."))
    async with stack.client(stack.keys.add()) as client:
        problem = (await client.post("/v1/embeddings", json={})).json()
    assert problem["reason"] == "model_not_found"
    assert problem["error"] == {
        "message": "There is no model 'x'.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }


async def test_long_lists_of_errors_are_cut():
    pointers = tuple((f"/{'x' * 1000}{i}", "wrong") for i in range(100))
    problem = (await answer_to(errors.Refusal(Reason.INVALID_REQUEST, "", pointers=pointers))).json()
    assert len(problem["errors"]) == 20
    assert len(problem["errors"][0]["pointer"]) == 256


async def test_a_detail_with_a_lone_surrogate_still_makes_an_answer():
    answer = await answer_to(errors.Refusal(Reason.NOT_FOUND, "\ud800"))
    assert answer.status_code == 404


def test_every_status_of_the_table_is_an_error_with_a_title():
    assert all(400 <= status <= 503 and title for status, title in problems.TABLE.values())


def test_every_reason_that_refuses_a_request_is_in_the_table():
    asked = list(Reason)
    until = asked.index(Reason.INTERNAL_ERROR)
    assert [reason for reason in asked[: until + 1] if reason not in problems.TABLE] == []


async def test_an_answer_that_has_begun_is_broken_off_and_not_begun_again():
    router = paths.router()

    @router.get("/stream")
    async def stream(request: Request) -> Response:
        async def parts():
            yield b"one"
            raise ZeroDivisionError

        return StreamingResponse(parts())

    messages = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        messages.append(message["type"])

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/stream",
        "raw_path": b"/stream",
        "query_string": b"",
        "headers": [],
    }
    with structlog.testing.capture_logs(), pytest.raises(ZeroDivisionError):
        await web.stack(router).app({**scope, "asgi": {"spec_version": "2.4"}}, receive, send)
    assert messages.count("http.response.start") == 1
