import datetime as dt
import enum

import pydantic
import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.domain import errors
from bloomweaver.runtime.web import answers, bodies, paths
from tests.support import hostile_json, web


class Kind(enum.StrEnum):
    ONE = "one"


class Inner(bodies.Body):
    name: str = pydantic.Field(min_length=1)


class Sent(bodies.Body):
    number: int = pydantic.Field(ge=0)
    kind: Kind = Kind.ONE
    at: dt.datetime | None = None
    tags: tuple[str, ...] = ()
    inner: Inner | None = None
    flag: bool = False
    ratio: float = 0.0


async def answer_to(body, content_type="application/json", **headers):
    router = paths.router()

    @router.post("/post")
    async def post(request: Request) -> Response:
        sent = await bodies.read_json(request, Sent, limit_bytes=1000)
        return answers.as_json({"number": sent.number})

    sending = {"content-type": content_type} if content_type else {}
    async with web.stack(router).client() as client:
        return await client.post("/post", content=body, headers=sending | headers)


async def test_a_good_body_becomes_the_model():
    body = (
        b'{"number": 1, "kind": "one", "at": "2026-11-21T09:00:00Z", "tags": ["a"], "inner": {"name": "x"}, "ratio": 1}'
    )
    assert (await answer_to(body)).json() == {"number": 1}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{}", "/number"),
        (b"[]", ""),
        (b"null", ""),
        (b'{"number": "1"}', "/number"),
        (b'{"number": 1.0}', "/number"),
        (b'{"number": true}', "/number"),
        (b'{"number": null}', "/number"),
        (b'{"number": -1}', "/number"),
        (b'{"number": 1, "flag": 1}', "/flag"),
        (b'{"number": 1, "flag": "true"}', "/flag"),
        (b'{"number": 1, "ratio": "1"}', "/ratio"),
        (b'{"number": 1, "kind": "two"}', "/kind"),
        (b'{"number": 1, "at": 1700000000}', "/at"),
        (b'{"number": 1, "at": "yesterday"}', "/at"),
        (b'{"number": 1, "tags": "a"}', "/tags"),
        (b'{"number": 1, "tags": ["a", 2]}', "/tags/1"),
        (b'{"number": 1, "inner": {"name": ""}}', "/inner/name"),
        (b'{"number": 1, "inner": {"name": "x", "a/b": 1}}', "/inner/a~1b"),
        (b'{"number": 1, "extra": 1}', "/extra"),
        (b'{"number": 9007199254740993}', "/number"),
    ],
)
async def test_a_body_of_the_wrong_shape_is_refused_at_the_field(body, pointer):
    answer = await answer_to(body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"number":1,"number":1}', "application/json", 400),
        (b"", "application/json", 400),
        (b'{"number": 1}', None, 415),
        (b'{"number": 1}', "text/plain", 415),
        (b'{"number": 1}', "application/json; charset=latin-1", 415),
        (b"x" * 1001, "application/json", 413),
    ],
)
async def test_each_kind_of_bad_body_has_its_status(body, content_type, status):
    assert (await answer_to(body, content_type)).status_code == status


async def test_a_compressed_body_is_refused():
    assert (await answer_to(b'{"number": 1}', **{"content-encoding": "gzip"})).status_code == 415


async def test_an_error_never_repeats_what_was_sent():
    for body in (
        b'{"number": "SECRET"}',
        b'{"number": 1, "kind": "SECRET"}',
        b'{"number": 1, "tags": [{"a": "SECRET"}]}',
    ):
        assert "SECRET" not in (await answer_to(body)).text


def test_a_value_inside_a_body_is_validated_with_the_way_to_it():
    assert bodies.validate(Sent, {"number": 1, "at": "2026-11-21T09:00:00Z"}).number == 1
    with pytest.raises(errors.Refusal) as caught:
        bodies.validate(Sent, {"number": "x"}, pointer="/3")
    assert caught.value.pointers[0][0] == "/3/number"


def test_what_a_validator_of_ours_says_is_what_the_client_reads():
    class Checked(bodies.Body):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("an even number is required")
            return number

    with pytest.raises(errors.Refusal) as caught:
        bodies.validate(Checked, {"number": 1})
    assert "an even number is required" in caught.value.detail


async def test_no_hostile_body_makes_a_server_error():
    router = paths.router()

    @router.post("/post")
    async def post(request: Request) -> Response:
        await bodies.read_json(request, Sent, limit_bytes=1_000_000)
        return answers.as_json({})

    statuses = {}
    async with web.stack(router).client() as client:
        for body in hostile_json.MALFORMED:
            answer = await client.post("/post", content=body, headers={"content-type": "application/json"})
            statuses[body[:40]] = answer.status_code
    assert {body: status for body, status in statuses.items() if status != 400} == {}
