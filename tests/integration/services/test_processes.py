"""One service as a process: what it answers, how it starts, waits, refuses and ends."""

import asyncio
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import keys, running

NAMES = ("webhook", "embedder", "writer", "search", "reconciler")

# What a process has imported by its end, one a line, on stdout.
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("\\n".join(sys.modules)))
from bloomweaver.{name} import main
main.main()
"""
# A writer of which a part breaks.
BROKEN = """
import contextlib
from bloomweaver.adapters import opening
from bloomweaver.runtime import process, settings, stages

async def broken():
    raise ZeroDivisionError

@contextlib.asynccontextmanager
async def begin(wishes, host):
    async with opening.open_ports(
        wishes, clock=host.clock, nonces=opening.system_nonces(), recorder=host.metrics
    ) as ports, stages.hosted(ports, host) as parts:
        parts.repeat("broken", broken, seconds=1.0)
        yield None

process.main(process.Program("writer", "", settings.ProcessSettings, begin, opening.system_clock))
"""
FOREIGN = {
    "webhook": {"openvino", "onnxruntime", "tokenizers", "torch", "transformers", "bloomweaver.embedder.service"},
    "embedder": {"fastapi", "openvino", "bloomweaver.webhook.service", "bloomweaver.search.service", "cryptography"},
    "writer": {
        "fastapi", "openvino", "onnxruntime", "tokenizers", "markdown_it", "bloomweaver.text", "bloomweaver.encoding",
        "cryptography", "torch",
    },
    "search": {"markdown_it", "bloomweaver.webhook.service", "bloomweaver.writer.service", "cryptography"},
    "reconciler": {"openvino", "onnxruntime", "tokenizers", "markdown_it", "bloomweaver.webhook.service", "torch"},
}  # fmt: skip


@pytest.fixture
def services(tmp_path: pathlib.Path) -> Iterator[running.Services]:
    with running.Services(tmp_path, store=f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


def test_every_service_starts_answers_and_ends_as_asked_with_no_more_imported_than_it_needs(
    services: running.Services,
):
    started = {name: services.start(name, program=PROGRAM.format(name=name)) for name in NAMES}
    services.until_ready()
    for name, service in started.items():
        assert service.get("/healthz") == (200, {"status": "ok"})
        assert service.get("/readyz") == (200, {"status": "ready"})
        assert "bloomweaver_build_info" in service.get("/metrics")[1], name
        service.process.send_signal(signal.SIGTERM)
    for name, service in started.items():
        imported, _ = service.process.communicate(timeout=running.END_SECONDS)
        assert service.process.returncode == 0, service.log.read_text()
        assert set(imported.decode().split()) & (FOREIGN[name] | {"rich"}) == set(), name
        assert service.events()[0] == "listening"
        assert service.events()[-1] == "ended"


def test_a_wrong_setting_is_one_line_and_code_78(services: running.Services):
    environment = {**services.environment("writer"), "BLOOMWEAVER_OPERATON": "create"}
    ended = subprocess.run(
        [sys.executable, "-m", "bloomweaver.writer"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 78
    told = json.loads(ended.stderr)  # one line, no traceback
    assert told["reason"] == "invalid_configuration"
    assert "did you mean BLOOMWEAVER_OPERATION?" in told["why"]
    assert told["what"]
    assert told["next"]


def test_a_port_in_use_is_one_line_and_code_78(services: running.Services):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = services.start("writer", f"--port={taken.getsockname()[1]}")
        assert service.process.wait(timeout=running.END_SECONDS) == 78
    assert [line["reason"] for line in service.lines()] == ["port_in_use"]


def test_a_model_that_does_not_exist_is_one_line_and_code_78(services: running.Services):
    service = services.start("embedder", "--model=no-such-model")
    assert service.process.wait(timeout=running.END_SECONDS) == 78
    assert service.lines()[-1]["event"] == "cannot_run"
    assert "Traceback" not in service.log.read_text()


def test_a_store_that_is_away_at_the_start_is_waited_for_unready_and_saying_so(
    services: running.Services, tmp_path: pathlib.Path
):
    with sqlite3.connect(tmp_path / "ledger.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        service = services.start("writer")
        running.until(lambda: "waits_for_dependency" in service.log.read_text(), what=service.log)
        assert service.get("/healthz")[0] == 200
        assert service.get("/readyz") == (503, {"status": "unready", "obstacles": ["start: waits: database_locked"]})
        other.execute("ROLLBACK")
    other.close()
    services.until_ready()


def test_a_store_that_goes_away_is_named_by_readiness_and_restarts_nobody(
    services: running.Services, tmp_path: pathlib.Path
):
    service = services.start("writer")
    services.until_ready()
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    running.until(lambda: service.get("/readyz")[0] == 503, what=service.log)
    assert [text.partition(":")[0] for text in service.get("/readyz")[1]["obstacles"]] == ["blobs"]
    assert service.get("/healthz")[0] == 200
    (tmp_path / "elsewhere").rename(tmp_path / "blobs")
    running.until(lambda: service.get("/readyz")[0] == 200, what=service.log)
    assert service.end() == 0


def test_a_part_that_ends_by_itself_ends_the_process_and_is_told(services: running.Services):
    service = services.start("writer", program=BROKEN)
    assert service.process.wait(timeout=running.END_SECONDS) == 70
    assert "stage_ended" in service.events()
    assert service.lines()[-1]["dead"] is True


def test_a_second_signal_ends_it_at_once(services: running.Services, tmp_path: pathlib.Path):
    secret = asyncio.run(keys.prepared(services.store))
    service = services.start("webhook")
    services.until_ready()
    with socket.create_connection(("127.0.0.1", service.port)) as slow:  # a request that does not end
        head = ("POST /v1/events HTTP/1.1", "host: x", f"authorization: Bearer {secret}", "content-length: 100",
                "content-type: application/json", "expect: 100-continue", "", "")  # fmt: skip
        slow.sendall("\r\n".join(head).encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 100"), "it waits for the body"
        service.process.send_signal(signal.SIGTERM)
        running.until(lambda: service.get("/readyz")[0] != 200)
        assert service.end() == 128 + signal.SIGTERM, "it did not wait for the request, as it does after one signal"


def test_a_process_ends_when_who_started_it_is_gone(services: running.Services):
    with running.pipe() as (read, write):
        os.set_inheritable(read, True)
        log = services.folder / "lifeline.log"
        with log.open("wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "bloomweaver.writer", "--port=0", f"--lifeline-fd={read}"],
                env=services.environment("writer"),
                stderr=stderr,
                pass_fds=(read,),
            )
        try:
            running.until(lambda: '"started"' in log.read_text(), what=log)
            os.close(write)
            assert child.wait(timeout=running.END_SECONDS) == 0
        finally:
            child.kill()
            child.wait()
