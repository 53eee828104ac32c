import pytest

from bloomweaver.cli import failures
from bloomweaver.cli.commands import searching


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["team=hr"], {"team": {"$eq": "hr"}}),
        (["year>=2025"], {"year": {"$gte": 2025}}),
        (["draft=true"], {"draft": {"$eq": True}}),
        (['code="7"'], {"code": {"$eq": "7"}}),
        (["note=a=b"], {"note": {"$eq": "a=b"}}),
        (["tags=[1]"], {"tags": {"$eq": "[1]"}}),
        (['{"team": {"$in": ["hr"]}}'], {"team": {"$in": ["hr"]}}),
        (["a=1", "b!=2"], {"$and": [{"a": {"$eq": 1}}, {"b": {"$ne": 2}}]}),
    ],
)
def test_filters_are_read(given: list[str], meant: dict[str, object]):
    assert searching.filter_of(given) == meant


@pytest.mark.parametrize("given", ["team", "=x", "{", '{"a": }', "9=1"])
def test_what_is_no_filter_is_a_usage_error(given: str):
    with pytest.raises(failures.Failure) as caught:
        searching.filter_of([given])
    assert caught.value.code is failures.ExitCode.USAGE
    assert caught.value.advice


def test_a_snippet_is_around_the_first_word_of_the_query():
    chunk = "# Heading\n\n" + "lorem " * 100 + "refunds take a week " + "ipsum " * 100
    found = searching.snippet(chunk, "how long do refunds take")
    assert "refunds take a week" in found
    assert found.startswith("…")
    assert found.endswith("…")
    assert len(found) <= searching.SNIPPET_CHARACTERS + 2


def test_a_short_chunk_is_shown_whole_without_its_heading():
    assert searching.snippet("## Sick\n\nTell your lead.", "sick") == "Tell your lead."
    assert searching.snippet("## Only a heading", "x") == "## Only a heading"


def test_a_query_of_signs_highlights_nothing():
    assert searching.highlighted("a (b) c", "( ) *").spans == []
    assert searching.highlighted("Refunds, refunded", "refund").spans
