import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import strict_json
from tests.support import hostile_json


@pytest.mark.parametrize("body", hostile_json.MALFORMED, ids=lambda body: repr(body[:24]))
def test_what_two_parsers_could_read_differently_is_refused(body):
    with pytest.raises(errors.Refusal) as caught:
        strict_json.loads(body)
    assert caught.value.reason is Reason.MALFORMED_JSON


GOOD = [
    b"1", b"-0", b"0.5", b"1e300", b"1E-400", b"true", b"false", b"null", b'""', b"[]", b"{}", b" \t\r\n[1, 2] \n",
    b'{"a": {"a": {"a": 1}}}', '"\u00e9\u6f22\U0001f600"'.encode(), b'"\\ud83d\\ude00"', b'"\\\\ud800"', b'"\\u0000"',
    b'"\xef\xbb\xbf"', b'"\xe2\x80\xa8"', b"9007199254740992", b"-9007199254740992", b"[" * 32 + b"]" * 32,
    b'{"t": "' + b"[{" * 500 + b'"}', b'{"source_version": 9223372036854775807}',
    b'[{"data": {"source_version": 1' + b"0" * 18 + b"}}]",
]  # fmt: skip


@pytest.mark.parametrize("body", GOOD, ids=lambda body: repr(body[:24]))
def test_what_every_parser_reads_alike_is_read_the_same_way(body):
    assert strict_json.loads(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"9007199254740993", ""),
        (b"-9007199254740993", ""),
        (b'{"a": 9007199254740993}', "/a"),
        (b'{"a": [1, {"b/c": 10000000000000000}]}', "/a/1/b~1c"),
        (b'{"source_version": 1, "year": 9223372036854775807}', "/year"),
        (b"[" + b"9" * 5000 + b"]", "/0"),
        (b'{"a": -' + b"9" * 100_000 + b"}", "/a"),
    ],
)
def test_integers_that_not_every_reader_keeps_are_of_the_wrong_shape(body, pointer):
    with pytest.raises(errors.Refusal) as caught:
        strict_json.loads(body)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.pointers[0][0] == pointer


def test_a_source_version_beyond_its_range_stays_beyond_it():
    value = strict_json.loads(b'{"source_version": ' + b"9" * 5000 + b"}")
    assert isinstance(value, dict)
    assert value["source_version"] > 2**63


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b'{"secret sauce":1,"secret sauce":2}', b'{"text":"secret sauce" x}']
)
def test_an_error_names_no_more_than_a_short_key(body):
    with pytest.raises(errors.Refusal) as caught:
        strict_json.loads(body)
    assert "sauce" not in str(caught.value)


def test_more_values_than_any_call_has_are_refused_before_they_are_made():
    with pytest.raises(errors.Refusal) as caught:
        strict_json.loads(b"[" + b"[]," * 1_100_000 + b"1]")
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_long_text_full_of_commas_and_brackets_is_one_value():
    text = 'a, [b](c), {d} \\" ' * 100_000
    assert strict_json.loads(json.dumps({"text": text}).encode()) == {"text": text}


@pytest.mark.parametrize(
    "body",
    [
        b'"' * 2_000_000,
        b'\\"' * 1_000_000,
        b'"' + b'\\"' * 1_000_000,
        b"[," * 1_000_000,
        b'{"":' * 500_000,
        b"-" * 2_000_000,
    ],
    ids=lambda body: repr(body[:8]),
)
def test_hostile_bytes_cost_no_more_than_their_length(body):
    began = time.process_time()
    with pytest.raises(errors.Refusal):
        strict_json.loads(body)
    assert time.process_time() - began < 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, st.booleans())
def test_what_an_encoder_writes_is_read_back(value, ascii_only):
    assert strict_json.loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_refused(body):
    try:
        value = strict_json.loads(body)
    except errors.Refusal:
        return
    assert json.loads(body) == value


def test_lines_give_each_item_its_value_or_its_own_error():
    body = b'{"a": 1}\n\n  \r\n{"a": 2}\r\nnope\n"\xff"\n[1, 9007199254740993]\n{"b": 3}'
    found = strict_json.lines(body, max_items=10)
    assert [line.index for line in found] == [0, 1, 2, 3, 4, 5]
    assert [line.value for line in found if line.error is None] == [{"a": 1}, {"a": 2}, {"b": 3}]
    assert [line.error.reason.value for line in found if line.error] == [
        "malformed_json",
        "malformed_json",
        "invalid_request",
    ]


def test_lines_end_at_line_feeds_only():
    found = strict_json.lines('{"a": "x\u2028y"}\n{"a": "x\u0085y"}'.encode(), max_items=10)
    assert [line.value for line in found] == [{"a": "x\u2028y"}, {"a": "x\u0085y"}]


def test_too_many_lines_are_refused_together():
    assert len(strict_json.lines(b"1\n" * 10, max_items=10)) == 10
    with pytest.raises(errors.Refusal) as caught:
        strict_json.lines(b"1\n" * 11, max_items=10)
    assert caught.value.reason is Reason.TOO_MANY_ITEMS
