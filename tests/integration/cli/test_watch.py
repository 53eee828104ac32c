"""`push --watch` against a real server: what is edited, added and removed follows by itself, until Ctrl-C."""

import collections
import json
import pathlib
import subprocess
from typing import Any

import pytest

from tests.integration.cli import processes

INTERRUPTED = 130


def next_account(watch: subprocess.Popen[str]) -> Any:
    """What the next push says of itself: one line of JSON each."""
    assert watch.stdout is not None
    return json.loads(watch.stdout.readline())


@pytest.mark.timeout(600)
def test_a_watched_folder_is_followed_until_ctrl_c(tmp_path: pathlib.Path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "kept.md").write_text("# Kept\n\nThe first edition.\n")
    (folder / "dropped.md").write_text("# Dropped\n\nSoon to go.\n")
    deployment = processes.Deployment(tmp_path)
    command = ["push", str(folder), "--watch", "--delete-missing", "--yes", "--json"]
    with deployment.serving():
        watch = deployment.begin(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            assert next_account(watch)["outcomes"] == {"created": 2}

            (folder / "kept.md").write_text("# Kept\n\nThe second edition.\n")
            assert next_account(watch)["outcomes"] == {"updated": 1}
            assert "second edition" in deployment.text("kept.md")

            (folder / "dropped.md").unlink()
            (folder / "added.md").write_text("# Added\n\nNew here.\n")
            seen: collections.Counter[str] = collections.Counter()
            while seen.total() < 2:  # it may look between the two
                seen.update(next_account(watch)["outcomes"])
            assert seen == {"created": 1, "deleted": 1}
            found = deployment.result("search", "words", "--by-document")["hits"]
            assert {hit["document_id"] for hit in found} == {"kept.md", "added.md"}

            assert processes.end(watch) == INTERRUPTED
        finally:
            watch.kill()
            watch.communicate()
