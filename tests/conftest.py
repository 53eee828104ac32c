"""The rules that every ring shares.

- Warnings are errors (pyproject.toml).
- A unit test opens no socket. It aims at 2 s of processor time and fails at 6, so that a slow machine does not fail a
  good test; one that hangs ends after two minutes by the clock. What Hypothesis prepares once per checkout counts for
  no test.
- A test that cannot run here says `not run: REASON`; these are counted and listed apart, never as passed. A skip
  without such a reason is a failure.
- What a test sets up for the log lines ends with it: a level left behind made the next one see nothing.
- `--counts FILE` appends "passed failed not-run" for whoever adds up several runs.
"""

import collections
import logging
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import hypothesis
import pytest
import structlog
from hypothesis import strategies

# It warns of each connection that a test cuts, and the warnings hide what failed.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

pytest_plugins = ["tests.support.servers.fixtures"]

UNIT_AIM_SECONDS = 2.0
UNIT_FAILS_SECONDS = 6.0
UNIT_HANG_SECONDS = 120.0
NOT_RUN = "not run: "
RINGS = ("integration", "contract", "golden", "unit")
LONGEST = (
    "integration/storms/", "security/test_tenants", "cli/test_kill", "integration/services/", "integration/cli/",
    "contract/test_opensearch", "contract/test_queues_sqs", "contract/test_dynamodb", "test_simulat",
    "contract/test_embedders",
)  # fmt: skip
"""Files of more than half a minute."""

TESTS = pathlib.Path(__file__).parent

# No deadline per example, and nothing else that a busy machine could miss: the limit per test is below. In CI the
# examples are fixed, so that a red run can be repeated.
_UNHURRIED = hypothesis.settings(
    deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("default", _UNHURRIED)
hypothesis.settings.register_profile("ci", _UNHURRIED, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--counts", metavar="FILE", help="append the numbers of passed, failed and not run tests to FILE")
    parser.addoption(
        "--unit-seconds",
        metavar="S",
        type=float,
        default=UNIT_FAILS_SECONDS,
        help=f"processor time at which a unit test fails (default {UNIT_FAILS_SECONDS:g})",
    )
    parser.addoption("--with-e2e", action="store_true", help="run tests/e2e too; they need a cluster (KUBECONFIG)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    for item in items:
        if _ring(item) == "unit" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(UNIT_HANG_SECONDS))
        if _ring(item) == "e2e" and not config.getoption("--with-e2e"):
            item.add_marker(pytest.mark.skip(reason=NOT_RUN + "needs a cluster; give --with-e2e and KUBECONFIG"))


@pytest.fixture(autouse=True, scope="session")
def _hypothesis_prepared(request: pytest.FixtureRequest) -> None:
    """Make its Unicode tables and look for constants in our modules: seconds on a fresh checkout, kept afterwards."""
    if any(item.get_closest_marker("hypothesis") for item in request.session.items):

        @hypothesis.settings(max_examples=1, database=None)
        @hypothesis.given(strategies.text(min_size=1))
        def draw(_: str) -> None: ...

        draw()


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """What a test set up for the log lines of this process (a level, a stream) ends with that test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _no_socket_in_unit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if _ring(request.node) != "unit":
        return

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a unit test opened a socket: use a memory adapter, or move it to tests/integration")

    for method in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, method, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    before = time.process_time()
    yield
    used = time.process_time() - before
    most = item.config.getoption("--unit-seconds")
    if _ring(item) == "unit" and used > most:
        aim = f"a unit test aims at {UNIT_AIM_SECONDS:g} s and fails at {most:g} s"
        pytest.fail(f"used {used:.1f} s of processor time; {aim}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]  # pluggy sends the inner result here
    if report.skipped and not hasattr(report, "wasxfail") and not _skip_reason(report).startswith(NOT_RUN):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a skip must say '{NOT_RUN}REASON', this one says '{_skip_reason(report)}'"
    return report  # type: ignore[return-value]  # a wrapper hook returns the result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    counted = collections.Counter(_skip_reason(report).removeprefix(NOT_RUN) for report in skipped)
    for reason, number in sorted(counted.items()):
        terminalreporter.write_line(f"not run: {reason} ({number})")
    target = config.getoption("--counts")
    if target and not hasattr(config, "workerinput"):  # who shares the work out counts, not those who do it
        passed, failed, errors = (len(terminalreporter.stats.get(key, [])) for key in ("passed", "failed", "error"))
        with pathlib.Path(target).open("a", encoding="utf-8") as file:
            file.write(f"{passed} {failed + errors} {len(skipped)}\n")


def _ring(item: pytest.Item) -> str:
    """The folder under tests/ that the item is in; empty for a file directly in it."""
    try:
        parts = item.path.relative_to(TESTS).parts
    except ValueError:
        return ""
    return parts[0] if len(parts) > 1 else ""


def _turn(item: pytest.Item) -> tuple[int, int]:
    """Files that take long begin first: what is left for the end is short, so that no core is idle then."""
    place = item.path.as_posix()
    long = [number for number, part in enumerate(LONGEST) if part in place]
    ring = _ring(item)
    return (long[0] if long else len(LONGEST), RINGS.index(ring) if ring in RINGS else len(RINGS))


def _skip_reason(report: Any) -> str:
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")
