import pathlib

import pytest

from bloomweaver.cli.pushing import selection


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("*.md", "a.md", True),
        ("*.md", "deep/er/a.md", True),
        ("*.md", "a.mdx", False),
        ("drafts", "drafts/a.md", True),
        ("drafts", "x/drafts/a.md", True),
        ("drafts/", "drafts/a.md", True),
        ("/drafts/**", "drafts/x/a.md", True),
        ("drafts/*.md", "drafts/a.md", True),
        ("drafts/*.md", "x/drafts/a.md", False),
        ("drafts/*.md", "drafts/x/a.md", False),
        ("**/a.md", "a.md", True),
        ("**/a.md", "x/y/a.md", True),
        ("x/**/a.md", "x/a.md", True),
        ("x/**/a.md", "x/y/z/a.md", True),
        ("[ab].md", "b.md", True),
        ("a?c", "abc", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns_mean_what_they_mean_in_gitignore(pattern: str, path: str, meant: bool):
    assert selection.matches(pattern, path) is meant


def test_hidden_names_and_what_tools_leave_are_not_meant(tmp_path: pathlib.Path):
    for name in ("a.md", ".b.md", ".git/c.md", "node_modules/d.md", "x/__pycache__/e.md", "x/f.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(selection.walk(tmp_path, selection.Selection())) == ["a.md", "x/f.md"]
    assert ".b.md" in list(selection.walk(tmp_path, selection.Selection(hidden=True)))


def test_exclude_wins_over_include():
    chosen = selection.Selection(include=("*.md",), exclude=("drafts",))
    assert chosen.wants("a/b.md")
    assert not chosen.wants("a/drafts/b.md")
    assert not chosen.wants("a/b.txt")


def test_links_to_folders_are_not_followed(tmp_path: pathlib.Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.md").write_text("x")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    assert list(selection.walk(tmp_path, selection.Selection())) == ["real/a.md"]
