"""Reading the process's environment."""

import os

import pytest

from bloomweaver.runtime import environment


def test_what_was_read_is_a_copy_that_nobody_can_change(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BLOOMWEAVER_DATA", "before")
    variables = environment.read()
    os.environ["BLOOMWEAVER_DATA"] = "after"
    assert variables["BLOOMWEAVER_DATA"] == "before"
    with pytest.raises(TypeError):
        variables["BLOOMWEAVER_DATA"] = "later"  # type: ignore[index]  # the point of the test
