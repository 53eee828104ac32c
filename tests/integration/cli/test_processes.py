"""Commands as processes: how they start, how they end, and what a person reads when something is in the way."""

import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.cli import processes

IMPORTED = """
import sys
sys.argv = ["bloomweaver", "search", "words"]
from bloomweaver.cli import main
try:
    main.main()
finally:
    print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Deployment]:
    made = processes.Deployment(tmp_path_factory.mktemp("deployment"))
    with made.serving():
        folder = made.folder / "documents"
        folder.mkdir()
        for number in range(8):
            (folder / f"{number}.md").write_text(f"# Page {number}\n\nSome words of page {number}.\n")
        assert made.run("push", str(folder)).returncode == 0
        yield made


def test_search_and_status_answer(deployment: processes.Deployment):
    assert len(deployment.result("search", "some words", "-n", "3")["hits"]) == 3
    assert deployment.result("status")["counts"]["searchable"] == 8
    assert deployment.result("audit")["clean"]


def test_search_imports_no_server_and_no_pydantic(deployment: processes.Deployment):
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED], env=deployment.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    heavy = {"fastapi", "numpy", "openvino", "onnxruntime", "pydantic", "sqlite3", "starlette", "structlog", "uvicorn"}
    assert set(ended.stderr.split()) & heavy == set()


def test_the_key_is_its_owners_alone(deployment: processes.Deployment):
    assert stat.S_IMODE((deployment.data / "key").stat().st_mode) == 0o600


def test_doctor_finds_nothing_wrong(deployment: processes.Deployment):
    found = deployment.result("doctor")
    assert found["healthy"], found
    assert {check["name"] for check in found["checks"]} >= {"python", "data folder", "key", "disk", "port", "server"}


def test_a_port_in_use_is_said_in_three_parts(deployment: processes.Deployment, tmp_path: pathlib.Path):
    ended = deployment.run("dev", "--port", str(deployment.port), "--data", str(tmp_path / "other"))
    assert ended.returncode == 1
    assert "Error: Another process listens on the port." in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_data_folder_in_use_names_who_has_it(deployment: processes.Deployment):
    ended = deployment.run("dev", "--port", "0")
    assert ended.returncode == 1
    assert "bloomweaver dev" in ended.stderr
    assert "--data" in ended.stderr


def test_nobody_there_is_exit_code_3(tmp_path: pathlib.Path, deployment: processes.Deployment):
    ended = deployment.run("status", "--url", "http://127.0.0.1:9", "--json")
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["error"]["exit_code"] == 3
    assert "Traceback" not in ended.stderr


def test_a_misspelt_variable_keeps_dev_from_starting(deployment: processes.Deployment, tmp_path: pathlib.Path):
    deployment.environment["BLOOMWEAVER_PROT"] = "1"
    try:
        ended = deployment.run("dev", "--data", str(tmp_path))
    finally:
        del deployment.environment["BLOOMWEAVER_PROT"]
    assert ended.returncode == 1
    assert "did you mean BLOOMWEAVER_PORT?" in ended.stderr


def test_ctrl_c_in_a_push_keeps_what_was_acknowledged(deployment: processes.Deployment, tmp_path: pathlib.Path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    push = deployment.begin("push", "-", **pipes)
    assert push.stdin is not None
    for number in range(60):
        push.stdin.write(json.dumps({"document_id": f"fed-{number}", "text": f"fed words {number}"}) + "\n")
    push.stdin.flush()
    while "fed-49" not in deployment.run("search", "fed words 49", "-n", "100", "--json").stdout:
        assert push.poll() is None
    push.send_signal(signal.SIGINT)
    push.wait(
        timeout=processes.START_SECONDS
    )  # with its input still open: closed, the push would come to its end by itself
    out, err = push.communicate()
    assert push.returncode == 130, out + err
    assert "50 are accepted" in err
    assert "bloomweaver wait push-" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_dev_ends_in_order(tmp_path: pathlib.Path, number: signal.Signals):
    made = processes.Deployment(tmp_path)
    with made.serving() as server:
        assert processes.end(server, number) == 0
    said = made.log.read_text()
    assert "Stopping" in said
    assert "Traceback" not in said


def test_try_shows_the_promise_twice_and_leaves_the_folder_alone(tmp_path: pathlib.Path):
    made = processes.Deployment(tmp_path)
    folder = tmp_path / "documents"
    folder.mkdir()
    paragraphs = "\n\n".join(f"## Part {number}\n\n{'some words to find ' * 6}{number}." for number in range(12))
    for name in ("a", "b", "c"):
        (folder / f"{name}.md").write_text(f"# Document {name}\n\n{paragraphs}\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    first = made.run("try", str(folder))
    assert first.returncode == 0, first.stdout + first.stderr
    for part in ("3 searchable", "embedded again", "no longer shows it", "accepted", "Go on with it"):
        assert part in first.stdout, first.stdout
    again = made.result("try", str(folder))
    assert again["first_hit"]["documents"] == 3
    assert again["pushes"][0]["files"]["unchanged"] == 3
    assert 1 <= again["edit"]["embedded"] <= 3
    assert again["delete"]["shown_after"] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert made.run("doctor", "--url", "http://127.0.0.1:9").returncode == 3


def test_a_tenant_and_its_key_are_made_in_the_data_folder(tmp_path: pathlib.Path):
    made = processes.Deployment(tmp_path)
    key = made.result("keys", "create", "ops", "--tenant", "acme")
    made.environment["BLOOMWEAVER_API_KEY"] = key["secret"]
    with made.serving():
        assert made.result("keys", "list")["items"][0]["id"] == key["id"]
    assert os.environ.get("BLOOMWEAVER_API_KEY") is None


def test_after_a_restore_the_audit_is_clean(tmp_path: pathlib.Path):
    made = processes.Deployment(tmp_path)
    with made.serving():
        (tmp_path / "a.md").write_text("# A\n\nSome words.\n")
        assert made.run("push", str(tmp_path / "a.md")).returncode == 0
    restored = made.result("migrate", "--restored")
    assert restored["audit"]["documents"] == 1
    assert restored["audit"]["clean"]
