import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers


def page(query):
    return answers.page_of(Request({"type": "http", "query_string": query.encode(), "headers": []}))


def test_a_list_without_parameters_is_its_first_fifty():
    assert page("") == answers.Page(50, None)


def test_a_page_continues_where_its_cursor_says():
    assert page(f"limit=1000&cursor={answers.make_cursor('a/ü')}") == answers.Page(1000, "a/ü")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "99999", "x", "", "1.0", "+1", " 1", "１", "1&limit=2"])
def test_limits_outside_of_one_to_a_thousand_are_refused(limit):
    with pytest.raises(errors.Refusal) as caught:
        page(f"limit={limit}")
    assert caught.value.reason is Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "MQ==",
        base64.b64encode(b"2a").decode(),
        base64.b64encode(b"1\xff").decode(),
        "ü",
        "MWE\n",
        "A" * 5000,
    ],
)
def test_cursors_of_others_are_refused(cursor):
    with pytest.raises(errors.Refusal) as caught:
        answers.read_cursor(cursor)
    assert caught.value.reason is Reason.INVALID_CURSOR


@given(st.text(max_size=200))
def test_a_cursor_gives_back_what_it_was_made_of(after):
    if after.encode("utf-8", "ignore").decode() == after:
        assert answers.read_cursor(answers.make_cursor(after)) == after


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text):
    try:
        after = answers.read_cursor(text)
    except errors.Refusal:
        return
    assert answers.make_cursor(after) == text


def test_a_page_says_how_it_goes_on():
    assert answers.as_page([{"a": 1}], after=None).body == b'{"items":[{"a":1}],"next_cursor":null}'
    assert answers.make_cursor("x").encode() in answers.as_page([], after="x").body
