import pytest

from bloomweaver.cli import failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 4), (403, 4), (404, 1), (409, 1), (413, 2), (415, 2), (422, 2), (429, 3), (500, 3), (503, 3)],
)
def test_a_status_has_its_exit_code(status: int, code: int):
    assert failures.code_of(status) == code


def test_a_problem_is_told_in_three_parts_with_a_link():
    body = {
        "type": "/docs/reasons/invalid_filter",
        "title": "The filter is not one",
        "status": 422,
        "detail": "There is no operator $near.",
        "reason": "invalid_filter",
        "errors": [{"pointer": "/filter/year/$near", "detail": "an unknown operator"}],
    }
    assert failures.problem(422, body, base_url="http://kb").lines() == [
        "Error: The filter is not one.",
        "  why   There is no operator $near.; /filter/year/$near: an unknown operator",
        f"  next  {failures.next_of('invalid_filter')}",
        "  more  http://kb/docs/reasons/invalid_filter",
    ]


def test_a_reason_of_a_later_release_needs_no_advice():
    failure = failures.problem(409, {"title": "New", "reason": "brand_new"}, base_url="http://kb")
    assert failure.lines() == ["Error: New."]
    assert failures.meaning_of("brand_new") == "brand_new"


def test_an_error_of_this_process_is_told_the_same_way():
    failure = failures.of_domain(errors.ConfigurationError(Reason.PORT_IN_USE, "Cannot listen on port 8080."))
    assert (failure.code, failure.why) == (failures.ExitCode.FAILED, "Cannot listen on port 8080.")
    assert "--port" in failure.advice
