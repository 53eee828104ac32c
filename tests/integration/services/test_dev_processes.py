"""`bloomweaver dev --processes`: one address before many processes, which are kept running and end together."""

import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import httpx2
import pytest

from tests.integration.cli import processes
from tests.support import running

SERVICES = ("webhook", "embedder", "writer", "search", "reconciler")
EMBEDDERS = 2
PARTS = 6 + EMBEDDERS
DEV = ("dev", "--processes", "--embedders", str(EMBEDDERS))


def children(pid: int) -> dict[int, str]:
    """The processes that a process started, with their command lines."""
    found = {}
    for number in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            found[int(number)] = pathlib.Path(f"/proc/{number}/cmdline").read_text().replace("\0", " ")
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def fleet(tmp_path: pathlib.Path) -> Iterator[tuple[processes.Deployment, "subprocess.Popen[str]"]]:
    if not pathlib.Path("/proc/self/task").is_dir():
        pytest.skip("not run: needs /proc to find the processes")
    deployment = processes.Deployment(tmp_path)
    deployment.environment["BLOOMWEAVER_MODEL"] = running.MODEL
    with deployment.log.open("a") as log:
        process = deployment.begin(*DEV, "--port", str(deployment.port), stdout=log, stderr=log)
        started: dict[int, str] = {}
        try:
            running.until(lambda: ready(deployment), what=deployment.log)
            started = children(process.pid)
            yield deployment, process
        finally:
            started |= children(process.pid) if process.poll() is None else {}
            process.kill()
            process.wait()
            for pid in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def ready(deployment: processes.Deployment) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"{deployment.url}/readyz").status_code == 200
    return False


@pytest.mark.timeout(900)
def test_what_is_pushed_is_found_though_a_process_was_killed_and_all_end_together(fleet, tmp_path: pathlib.Path):
    deployment, parent = fleet
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\nabout train number {number}\n")
    assert len(children(parent.pid)) == PARTS
    assert deployment.run("push", str(folder)).returncode == 0
    hits = deployment.result("search", "train", "--limit", "5")["hits"]
    assert len(hits) == 5

    for service in SERVICES:
        victim = next(pid for pid, line in children(parent.pid).items() if f"bloomweaver.{service}" in line)
        os.kill(victim, signal.SIGKILL)
    running.until(lambda: len(children(parent.pid)) == PARTS and ready(deployment), what=deployment.log)
    (folder / "0.md").write_text("# Changed\n\nabout aeroplanes\n")
    assert deployment.run("push", str(folder)).returncode == 0
    hits = deployment.result("search", "note", "--limit", "50")["hits"]
    texts = [hit["chunk"]["text"] for hit in hits]
    assert sum("aeroplanes" in text for text in texts) == 1
    assert sum("train" in text for text in texts) == 29
    assert all(hit["chunk"]["text"] in deployment.text(hit["document_id"]) for hit in hits[:3])
    assert deployment.result("audit")["clean"]
    assert "is started again" in deployment.log.read_text()

    last = children(parent.pid)
    assert processes.end(parent) == 0
    assert [pid for pid in last if alive(pid)] == []


def test_processes_end_when_the_one_that_started_them_is_killed(fleet):
    _, parent = fleet
    started = children(parent.pid)
    parent.kill()
    parent.wait()
    running.until(lambda: not any(alive(pid) for pid in started), what="children live on")


def test_several_embedders_need_processes_of_their_own(tmp_path: pathlib.Path):
    ended = processes.Deployment(tmp_path).run("dev", "--embedders", "2", "--port", "0")
    assert ended.returncode == 2
    assert "Add --processes" in ended.stderr


def test_a_store_of_one_process_is_refused_with_what_to_do(tmp_path: pathlib.Path):
    deployment = processes.Deployment(tmp_path)
    deployment.environment["BLOOMWEAVER_STORE"] = "mem://"
    ended = deployment.run("dev", "--processes", "--port", "0")
    assert ended.returncode == 1
    assert "private to one process" in ended.stderr
    assert "Traceback" not in ended.stderr
