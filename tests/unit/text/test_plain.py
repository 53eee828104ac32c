"""Plain text: paragraphs."""

import pytest

from bloomweaver.text import plain


def paragraphs(text):
    return [text[block.start : block.end] for block in plain.extract(text).blocks]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_blank_lines_separate_paragraphs_whatever_the_line_ends(line_end):
    text = line_end.join(["", "one", "still one", "", " \t", "two", ""])
    assert paragraphs(text) == [f"one{line_end}still one", "two"]


def test_white_space_alone_has_no_paragraphs():
    assert paragraphs(" \n\n\t\n") == []
