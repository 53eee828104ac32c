"""The command line starts fast because it imports little: nothing of the services, no vendor, no HTTP client."""

import subprocess
import sys

import pytest

HEAVY = {
    "fastapi", "httpx2", "markdown_it", "numpy", "onnxruntime", "openvino", "pydantic", "sqlite3",
    "starlette", "structlog", "tokenizers", "torch", "uvicorn",
}  # fmt: skip

PROGRAM = """
import sys
sys.argv = ["bloomweaver", *sys.argv[1:]]
from bloomweaver.cli import main
try:
    main.main()
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
print("\\n".join(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, check=False, text=True, timeout=15
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    assert set(ended.stderr.splitlines()) & HEAVY == set()
