"""Markdown: which blocks there are, where, and under which titles."""

import pytest

from bloomweaver.domain import blocks
from bloomweaver.text import markdown

Kind = blocks.Kind


def listed(text):
    return [(block.kind, text[block.start : block.end]) for block in markdown.extract(text).blocks]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("# Title", Kind.HEADING),
        ("Title\n=====", Kind.HEADING),
        ("words\non two lines", Kind.TEXT),
        ("> a quote\n>\n> of two paragraphs", Kind.TEXT),
        ("- one\n- two\n\n  more of two", Kind.LIST),
        ("1. one\n2. two", Kind.LIST),
        ("| a | b |\n|---|---|\n| 1 | 2 |", Kind.TABLE),
        ("```sh\nls\n\nls\n```", Kind.CODE),
        ("~~~\nnever closed", Kind.CODE),
        ("    indented\n\n    code", Kind.CODE),
        ("<div>\nraw\n</div>", Kind.TEXT),
        ("***", Kind.TEXT),
    ],
)
def test_an_element_is_one_block_of_its_kind(text, kind):
    assert listed(f"\n\n{text}\n\n") == [(kind, text)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_offsets_are_those_of_the_text_as_sent_whatever_the_line_ends(line_end):
    text = line_end.join(["# A", "", "é 👩 b", "", "- c"])
    assert listed(text) == [(Kind.HEADING, "# A"), (Kind.TEXT, "é 👩 b"), (Kind.LIST, "- c")]


def test_what_belongs_to_no_element_becomes_text():
    assert listed("[a]: https://example.org\n\nword") == [(Kind.TEXT, "[a]: https://example.org"), (Kind.TEXT, "word")]


def test_front_matter_is_not_read_as_markdown():
    text = "---\ntitle: x\n# no heading\n---\n\n# Yes\n"
    assert listed(text) == [(Kind.CODE, "---\ntitle: x\n# no heading\n---"), (Kind.HEADING, "# Yes")]


def test_every_block_knows_the_titles_above_it():
    text = "# A\n\na\n\n### B\n\nb\n\n## C [x](y) #\n\nc\n\n# D\n"
    paths = {text[block.start : block.end]: block.heading for block in markdown.extract(text).blocks}
    assert [paths[name] for name in ("a", "b", "c", "# D")] == [("A",), ("A", "B"), ("A", "C x"), ("D",)]


def test_a_heading_inside_a_list_or_a_quote_opens_no_section():
    assert [block.heading for block in markdown.extract("- # a\n\n> # b\n\nc").blocks] == [(), (), ()]


def test_a_page_long_title_is_shortened_in_the_path():
    block = markdown.extract("# " + "x" * 5000).blocks[0]
    assert len(block.heading[0]) == 200
    assert block.end == 5002
