"""Golden files: what the project emits, kept beside the tests, so that a change of it is a diff that a person reads.

`golden.check(path, text)` compares; `make golden-update` (BLOOMWEAVER_GOLDEN_UPDATE=1) rewrites instead.
"""

import difflib
import os
import pathlib

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "golden"
UPDATE_VARIABLE = "BLOOMWEAVER_GOLDEN_UPDATE"


def check(path: str | pathlib.Path, text: str, *, folder: pathlib.Path = FOLDER) -> None:
    """Compare `text` with the golden file (relative to tests/golden); it must be the same to the last character."""
    file = folder / path
    if os.environ.get(UPDATE_VARIABLE) == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        return
    if not file.is_file():
        pytest.fail(f"no golden file {path}; `make golden-update` writes it", pytrace=False)
    expected = file.read_text(encoding="utf-8")
    if text != expected:
        lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "now", lineterm="")
        diff = "\n".join(lines) or "only line ends or the last newline differ"
        pytest.fail(f"{path} differs; if it should, `make golden-update`:\n{diff}", pytrace=False)
