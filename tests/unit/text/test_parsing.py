"""What every parser promises: all of the text, once, in order; and no input that makes it slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.domain import blocks, errors
from bloomweaver.text import parsing
from tests.unit.domain import test_chunking

# Of the processor, on a slow machine: what takes time in the square of its size takes minutes.
PATIENCE_SECONDS = 5.0

TEXTS = test_chunking.TEXTS
TAGS = st.lists(
    st.sampled_from([
        "<p>", "</p>", "<div>", "</div>", "<ul>", "<ol start=7>", "</ul>", "<li>", "</li>", "<table>", "</table>",
        "<tr>", "<td>", "</td>", "<h2>", "</h2>", "<pre>", "</pre>", "<br>", "<b>", "</b>", "<p hidden>", "<script>",
        "</script>", "<!--", "-->", "<svg>", "</svg>", "<a href='", "'>", "&lt;", "&#0;", "<", "word", " two  words ",
        "\n", "\x00",
    ]),
    max_size=40,
).map("".join)  # fmt: skip


def misplaced(extracted):
    """Offsets of text that lies in no block, after checking that blocks are in order and apart."""
    done, missing = 0, []
    for block in extracted.blocks:
        assert done <= block.start < block.end
        missing += [place for place in range(done, block.start) if not extracted.text[place].isspace()]
        done = block.end
    return missing + [place for place in range(done, len(extracted.text)) if not extracted.text[place].isspace()]


@given(text=st.one_of(TEXTS, TAGS), media_type=st.sampled_from(sorted(parsing.MEDIA_TYPES)))
def test_every_visible_code_point_lies_in_exactly_one_block(text, media_type):
    assert misplaced(parsing.parse(text, media_type)) == []


@given(text=TEXTS, media_type=st.sampled_from(["text/plain", "text/markdown"]))
def test_plain_text_and_markdown_stay_as_they_were_sent(text, media_type):
    assert parsing.parse(text, media_type).text == text


@pytest.mark.parametrize("media_type", ["text/plain; charset=utf-8", "TEXT/PLAIN", " text/plain ;x=y"])
def test_parameters_and_case_of_a_media_type_do_not_matter(media_type):
    assert parsing.parse("a", media_type).blocks == (blocks.Block(blocks.Kind.TEXT, 0, 1),)


@pytest.mark.parametrize("media_type", ["application/pdf", "text", ""])
def test_an_unknown_media_type_is_refused_with_those_that_are_known(media_type):
    with pytest.raises(errors.PermanentError, match="text/html, text/markdown, text/plain"):
        parsing.parse("a", media_type)


HOSTILE = {
    "one sign": "<",
    "open tags": "<a",
    "nested parts": "<div><p>",
    "nested lists": "<ul><li>x",
    "nested tables": "<table><tr><td>x",
    "quotes": '<a "',
    "values": "<a='",
    "comments": "<!-- -",
    "scripts": "<script></scrip",
    "entities": "&#",
    "hidden parts": "<ul><li hidden>x",
    "declarations": "<!",
    "equal signs": "<a ====",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_html_takes_time_in_proportion_to_its_size(name):
    unit = HOSTILE[name]
    assert seconds(unit * (200_000 // len(unit)), "text/html") < PATIENCE_SECONDS


def test_a_tag_with_ten_thousand_attributes_takes_no_longer_than_text():
    attributes = " ".join(f"hidden{number}=1" for number in range(10_000))
    assert seconds(f"<a {attributes}>x", "text/html") < PATIENCE_SECONDS


@pytest.mark.parametrize("unit", ["- ", "> ", "1. ", "[", "a\n", "\n", "# a\n", "|a|b|\n|-|-|\n", "```\n", "\t"])
def test_hostile_markdown_takes_time_in_proportion_to_its_size(unit):
    assert seconds(unit * (20_000 // len(unit)), "text/markdown") < PATIENCE_SECONDS


def seconds(text, media_type):
    before = time.process_time()
    parsing.parse(text, media_type)
    return time.process_time() - before
