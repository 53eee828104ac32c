"""The rules of tests/conftest.py bite: each is broken once, in a copy of the test folder."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

CONFTEST = pathlib.Path(__file__).parent.parent / "conftest.py"

BREAKERS = """
import socket, time, warnings
import pytest

def test_passes(): pass

def test_opens_a_socket():
    socket.create_connection(("127.0.0.1", 9))

def test_binds():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))

def test_burns_the_processor():
    until = time.process_time() + 0.6
    while time.process_time() < until: pass

def test_warns():
    warnings.warn("old", DeprecationWarning)

def test_skips_without_a_reason():
    pytest.skip("no time")

def test_cannot_run_here():
    pytest.skip("not run: needs a cluster")

@pytest.mark.skip(reason="not run: needs a cluster")
def test_cannot_run_here_either(): pass
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(what pytest printed, what it counted)"""
    root = tmp_path_factory.mktemp("project")
    (root / "tests" / "unit").mkdir(parents=True)
    shutil.copy(CONFTEST, root / "tests")
    shutil.copytree(CONFTEST.parent / "support", root / "tests" / "support")  # the plugin with the servers
    (root / "tests" / "unit" / "test_breakers.py").write_text(BREAKERS, encoding="utf-8")
    shutil.copy(CONFTEST.parent.parent / "pyproject.toml", root)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-rA",
        f"--counts={root / 'counts'}",
        "--unit-seconds=0.5",
        "tests",
    ]
    wide = {**os.environ, "COLUMNS": "300"}  # the summary cuts its lines otherwise
    ended = subprocess.run(command, cwd=root, capture_output=True, check=False, text=True, env=wide)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout, (root / "counts").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "line",
    [
        "FAILED tests/unit/test_breakers.py::test_opens_a_socket - AssertionError: a unit test opened a socket",
        "FAILED tests/unit/test_breakers.py::test_binds - AssertionError: a unit test opened a socket",
        "FAILED tests/unit/test_breakers.py::test_burns_the_processor - Failed: used 0.6 s of processor time",
        "FAILED tests/unit/test_breakers.py::test_warns - DeprecationWarning: old",
        "FAILED tests/unit/test_breakers.py::test_skips_without_a_reason",
        "PASSED tests/unit/test_breakers.py::test_passes",
        "not run: needs a cluster (2)",
    ],
)
def test_a_broken_rule_is_reported(outcome: tuple[str, str], line: str):
    assert line in outcome[0]


def test_passed_failed_and_not_run_are_counted_apart(outcome: tuple[str, str]):
    assert outcome[1] == "1 5 2\n"
