import pytest

from bloomweaver.controller import differences


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1, "default": True}]}}),
        ({"a": []}, {}),
        ({"a": ""}, {"b": 1}),
        ([], []),
    ],
)
def test_what_a_server_adds_is_no_difference(wanted: object, live: object):
    assert differences.contained(wanted, live)


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": []}, {"a": [1]}),
        ({"a": True}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": None}),
    ],
)
def test_what_is_not_there_as_it_should_be_is_a_difference(wanted: object, live: object):
    assert not differences.contained(wanted, live)
