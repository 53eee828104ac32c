"""HTML: what a person would read, and what kind of thing it is."""

import pytest

from bloomweaver.domain import blocks
from bloomweaver.text import hypertext

Kind = blocks.Kind


def listed(source):
    extracted = hypertext.extract(source)
    return [(block.kind, extracted.text[block.start : block.end]) for block in extracted.blocks]


def read(source):
    return hypertext.extract(source).text


def test_a_page_without_text_has_no_blocks():
    assert listed("<html><head><title>t</title></head><body><img src=x><br>&nbsp;</body></html>") == []


@pytest.mark.parametrize(
    "source",
    [
        "<script>no</script>yes",
        "<SCRIPT>if (a < b) '</p>'</SCRIPT >yes",
        "<style>no</style>yes",
        "<title>no</title>yes",
        "<noscript>no</noscript>yes",
        "<textarea>no <b></textarea>yes",
        "<template><p>no<template>no</template>no</template>yes",
        "<svg><text>no</text></svg>yes",
        "<svg/>yes",
        "<select><option>no</select>yes",
        "<!-- no --><!--><!---->yes<!-- never closed",
        "<!doctype html><?php no ?></ no>yes",
        "<div hidden>no<div>no</div>no</div>yes",
        "<div HIDDEN=''>no</div>yes",
        '<span style="color: red; display : none">no</span>yes',
        "<p hidden>no<p>yes",
        "<ul><li hidden>no<ul><li>no</ul>no</ul>yes",
        "<table><tr><td hidden>no<td>yes</table>",
        "<div><p hidden>no</div>yes",
        "yes<a href='never closed>no",
    ],
)
def test_what_nobody_sees_is_left_out(source):
    assert read(source).removeprefix("- ") == "yes"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a <b>b</b>c\n\t d", "a bc d"),
        ("1 < 2 &amp;&lt; &copy &#x41;&#0;", "1 < 2 &< © A\ufffd"),
        ("one<br>two", "one\ntwo"),
        ("<p>one<p>two<div>three</div>four", "one\n\ntwo\n\nthree\n\nfour"),
        ("<a title='>' href=\"a'b\">x</a>", "x"),
        ("a<wbr>b<span data-hidden=1>c</span>", "abc"),
        ("<dl><dt>t<dd>d</dl>", "t\n\nd"),
    ],
)
def test_text_reads_as_a_browser_shows_it(source, text):
    assert read(source) == text


def test_headings_make_the_path():
    extracted = hypertext.extract("<h1>A</h1><p>a<h2>B <i>b</i></h2><p>b<h1>C</h1>c")
    assert [(block.kind, block.heading) for block in extracted.blocks] == [
        (Kind.HEADING, ("A",)), (Kind.TEXT, ("A",)), (Kind.HEADING, ("A", "B b")), (Kind.TEXT, ("A", "B b")),
        (Kind.HEADING, ("C",)), (Kind.TEXT, ("C",)),
    ]  # fmt: skip


def test_a_list_is_one_block_with_markers_and_indentation():
    source = "<ol start=3><li>a<li><p>b</p><p>more</p><ul><li>c</ul><li>d</ol>"
    assert listed(source) == [(Kind.LIST, "3. a\n4. b\n  more\n  - c\n5. d")]


def test_a_table_is_one_block_of_rows():
    source = "<table><caption>Sizes</caption><tr><th>a<th>b<tr><td>1 <p>x<td></td></tr><tr><td><td></table>after"
    assert listed(source) == [(Kind.TABLE, "Sizes\na | b\n1 x |"), (Kind.TEXT, "after")]


def test_a_table_for_layout_is_read_cell_by_cell():
    source = "<table><tr><td>menu<td><h1>Title</h1><p>body<table><tr><td>1<td>2</table></table>end"
    assert listed(source) == [
        (Kind.TABLE, "menu |"), (Kind.HEADING, "Title"), (Kind.TEXT, "body"), (Kind.TABLE, "1 | 2"), (Kind.TEXT, "end"),
    ]  # fmt: skip


def test_code_keeps_its_lines_and_indentation():
    assert listed("<p>a<pre>\n\n  if x:\r\n    <b>y</b> &lt; 1\n</pre>b") == [
        (Kind.TEXT, "a"), (Kind.CODE, "  if x:\n    y < 1"), (Kind.TEXT, "b"),
    ]  # fmt: skip


def test_code_inside_a_list_is_a_block_of_its_own():
    assert listed("<ul><li>a<pre>x</pre><li>b</ul>") == [(Kind.LIST, "- a"), (Kind.CODE, "x"), (Kind.LIST, "- b")]
