import pathlib

import pytest

from bloomweaver.cli.pushing import reading
from bloomweaver.domain import identity
from bloomweaver.domain.reasons import Reason


@pytest.mark.parametrize(
    ("data", "suffix", "media_type", "title"),
    [
        (b"# Leave #\n\nwords", ".md", "text/markdown", "Leave"),
        (b"```\n# no title\n```\n# Yes\n", ".MD", "text/markdown", "Yes"),
        (b"words", ".md", "text/markdown", None),
        (b"<p>words", ".html", "text/html", None),
        (b"<!DOCTYPE html><title> A\n b </title>", ".cgi", "text/html", "A b"),
        (b"# not Markdown", ".conf", "text/plain", None),
        (b"\xef\xbb\xbfwords", "", "text/plain", None),
    ],
)
def test_type_and_title_of_a_text(data: bytes, suffix: str, media_type: str, title: str | None):
    text = reading.text_of(data, suffix)
    assert (text.media_type, text.title) == (media_type, title)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n", Reason.UNSUPPORTED_MEDIA_TYPE),
        (b"%PDF-1.7 words", Reason.UNSUPPORTED_MEDIA_TYPE),
        (b"a\0b", Reason.UNSUPPORTED_MEDIA_TYPE),
        (b"caf\xe9", Reason.UNSUPPORTED_MEDIA_TYPE),
        (b" \n\t", Reason.EMPTY_TEXT),
        (b"x" * (reading.MAX_TEXT_BYTES + 1), Reason.TOO_LARGE),
    ],
    ids=["png", "pdf", "nul", "latin", "blank", "huge"],
)
def test_what_is_no_document_says_why(data: bytes, reason: Reason):
    with pytest.raises(reading.Unsuitable) as caught:
        reading.text_of(data, ".txt")
    assert caught.value.reason is reason


def test_the_hash_is_the_servers():
    assert reading.text_of(b"caf\xc3\xa9", ".txt").content_hash == identity.content_hash("text/plain", b"caf\xc3\xa9")


def test_a_folder_and_a_file_that_is_gone_are_no_documents(tmp_path: pathlib.Path):
    for path in (tmp_path, tmp_path / "gone.md"):
        with pytest.raises(reading.Unsuitable):
            reading.read(path)
    assert reading.stamp_of(tmp_path) is None
