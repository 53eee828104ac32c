import io
import json
import logging

import pytest
import structlog

from bloomweaver.runtime import context, logs

KEY = "bw_abcdefgh_" + "x" * 43


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    made = io.StringIO()
    logs.configure(form="json", level="info", stream=made)
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)


def only_line(stream):
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_line_is_one_json_object(stream):
    structlog.get_logger("bloomweaver.test").info("accepted", outcome="created", seq=17)
    line = only_line(stream)
    assert (line["event"], line["level"], line["outcome"], line["seq"]) == ("accepted", "info", "created", 17)
    assert line["at"].endswith("Z")


def test_a_line_inside_a_request_names_it(stream):
    with context.using(context.RequestContext("r1")):
        structlog.get_logger().info("x")
    assert only_line(stream)["request_id"] == "r1"


def test_below_its_level_nothing_is_written(stream):
    structlog.get_logger().debug("x")
    logging.getLogger("vendor").info("x")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    "value",
    [KEY, f"sent {KEY} to", f"Bearer {KEY}", "whsec_" + "A" * 44, "Bearer opaque-token", "postgresql://user:SECRET@db/x",
     ["x", KEY], {"a": {"b": KEY}}, "y" * 480 + KEY],
)  # fmt: skip
def test_secrets_are_masked_wherever_they_are(stream, value):
    structlog.get_logger().info("x", detail=value)
    written = stream.getvalue()
    assert "***" in written
    assert not any(secret in written for secret in ("xxxxxxxx", "AAAAAAAA", "SECRET", "opaque"))


@pytest.mark.parametrize(
    "field", ["authorization", "secret", "password", "token", "api_key", "text", "query", "metadata"]
)
def test_fields_that_hold_secrets_or_content_are_not_written(stream, field):
    structlog.get_logger().info("x", **{field: "private"}, nested={field: ["private"]})
    assert "private" not in stream.getvalue()


def test_a_value_is_cut(stream):
    structlog.get_logger().info("x", detail="y" * 100_000)
    assert len(stream.getvalue()) < 1000


def test_a_traceback_shows_the_way_and_no_variables(stream):
    def failing(document):
        raise ValueError("cause")

    try:
        failing("private")
    except ValueError:
        structlog.get_logger().exception("failed")
    line = only_line(stream)
    assert "ValueError: cause" in line["exception"]
    assert "private" not in line["exception"].replace('failing("private")', "")


def test_lines_of_libraries_pass_the_same_way(stream):
    logging.getLogger("vendor").warning("key %s", KEY)
    line = only_line(stream)
    assert (line["event"], line["level"]) == ("key ***", "warning")


def test_what_json_cannot_say_is_written_as_text(stream):
    structlog.get_logger().info("x", kind=logs, letters={"b"}, count=2**70, missing=None)
    assert only_line(stream)["letters"] == ["b"]


def test_the_console_form_is_one_readable_line():
    made = io.StringIO()
    logs.configure(form="console", level="info", stream=made)
    structlog.get_logger().info("accepted", seq=17, secret="private")
    structlog.reset_defaults()
    logging.basicConfig(force=True, handlers=[])
    assert "accepted" in made.getvalue()
    assert "seq=17" in made.getvalue()
    assert "private" not in made.getvalue()
