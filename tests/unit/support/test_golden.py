"""Golden files: equal passes, different fails with the diff, an update writes."""

import pathlib

import pytest

from tests.support import golden


@pytest.fixture(autouse=True)
def _comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(golden.UPDATE_VARIABLE, raising=False)


def test_the_same_text_passes(tmp_path: pathlib.Path):
    (tmp_path / "a.txt").write_text("one\n", encoding="utf-8")
    golden.check("a.txt", "one\n", folder=tmp_path)


@pytest.mark.parametrize(("text", "told"), [("two\n", "-one\n+two"), ("one", "the last newline")])
def test_another_text_fails_with_the_difference(tmp_path: pathlib.Path, text: str, told: str):
    (tmp_path / "a.txt").write_text("one\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="golden-update") as caught:
        golden.check("a.txt", text, folder=tmp_path)
    assert told in str(caught.value)


def test_a_missing_file_fails(tmp_path: pathlib.Path):
    with pytest.raises(pytest.fail.Exception, match="no golden file"):
        golden.check("new/a.txt", "one\n", folder=tmp_path)


def test_an_update_writes_the_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(golden.UPDATE_VARIABLE, "1")
    golden.check("new/a.txt", "one\n", folder=tmp_path)
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "one\n"
