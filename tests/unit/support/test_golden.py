"""Golden files: equal passes, different fails with the diff, an update writes."""

import pathlib

import pytest

from tests.support import golden


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    monkeypatch.delenv(golden.UPDATE_VARIABLE, raising=False)
    return tmp_path


def test_the_same_text_passes(folder: pathlib.Path):
    (folder / "a.txt").write_text("one\n", encoding="utf-8")
    golden.check("a.txt", "one\n")


@pytest.mark.parametrize(("text", "told"), [("two\n", "-one\n+two"), ("one", "the last newline")])
def test_another_text_fails_with_the_difference(folder: pathlib.Path, text: str, told: str):
    (folder / "a.txt").write_text("one\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="golden-update") as caught:
        golden.check("a.txt", text)
    assert told in str(caught.value)


def test_a_missing_file_fails():
    with pytest.raises(pytest.fail.Exception, match="no golden file"):
        golden.check("new/a.txt", "one\n")


def test_an_update_writes_the_file(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(golden.UPDATE_VARIABLE, "1")
    golden.check("new/a.txt", "one\n")
    assert (folder / "new" / "a.txt").read_text(encoding="utf-8") == "one\n"
