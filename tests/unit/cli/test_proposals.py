from bloomweaver.cli import proposals

PROSE = "Some words that are long enough to be a paragraph of prose, as people write them every day."


def test_one_paragraph_near_the_middle_is_edited():
    text = f"# Title\n\n{PROSE}\n\n{PROSE}\n\n{PROSE}\n\n- a list"
    changed = proposals.edited(text, at="noon")
    differing = [pair for pair in zip(text.split("\n\n"), changed.split("\n\n"), strict=True) if pair[0] != pair[1]]
    assert differing == [(PROSE, f"{PROSE} {proposals.ADDED} noon.")]


def test_a_text_without_prose_stays_as_it_is():
    for text in ("# Title\n\nshort", f"```\n\n{PROSE}\n\n```", f"<p>{PROSE}</p>"):
        assert proposals.edited(text) == text
