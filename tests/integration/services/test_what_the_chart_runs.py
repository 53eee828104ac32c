"""What the chart renders without values, as processes on loopback instead of pods: its variables, its roles, its test.

Not shown by it: images, probes, volumes, policies, and whatever else only a cluster does.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import psycopg
import pytest

from tests.support import charts, running
from tests.support.servers import fixtures, postgresql, processes

STORE = "bloomweaver-postgresql:5432/bloomweaver"
PROGRAMS = pathlib.Path(sys.executable).parent


class Pods:
    """Containers as processes. server: HOST:PORT/DATABASE that stands for the bundled PostgreSQL."""

    def __init__(self, folder: pathlib.Path, server: str) -> None:
        self._folder = folder
        self._server = server
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}

    def variables(self, container: charts.Object, *, password: str = "service") -> dict[str, str]:
        """What the image sets and what the chart sets, with secrets where they are here."""
        mounted = {
            STORE: self._server,
            "/run/secrets/bloomweaver-store/password": str(self._folder / password),
            "/run/secrets/bloomweaver-sealing/sealing": str(self._folder / "sealing"),
        }
        given = {each["name"]: each["value"] for each in container["env"]}
        for there, here in mounted.items():
            given = {name: value.replace(there, here) for name, value in given.items()}
        data = self._folder / "data"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BLOOMWEAVER_", "PG"))}
        of_the_image = {
            "BLOOMWEAVER_DATA": str(data),
            "BLOOMWEAVER_MODELS": str(data / "models"),
            "HF_HUB_OFFLINE": "1",
        }
        return {**kept, "PATH": f"{PROGRAMS}:{kept['PATH']}", **of_the_image, **given}

    def start(self, deployment: charts.Object) -> None:
        """Its first pod."""
        name = deployment["metadata"]["name"]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        self.ports[name] = processes.free_port()
        variables = {**self.variables(container), "BLOOMWEAVER_PORT": str(self.ports[name])}
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", f"bloomweaver.{container['name']}"], env=variables, stdout=log, stderr=log
            )

    def unready(self, path: str) -> set[str]:
        """Those whose readiness probe does not succeed within the time."""
        waiting, until = set(self.ports), time.monotonic() + running.START_SECONDS
        while waiting and time.monotonic() < until:
            for name in sorted(waiting):
                with contextlib.suppress(urllib.error.URLError, OSError):
                    asked = f"http://127.0.0.1:{self.ports[name]}{path}"
                    urllib.request.urlopen(asked, timeout=running.START_SECONDS).close()
                    waiting.discard(name)
            time.sleep(0.2)
        return waiting

    def end(self) -> dict[str, int]:
        """SIGTERM to all; how each ended."""
        for process in self._running.values():
            process.terminate()
        return {name: process.wait(timeout=running.END_SECONDS) for name, process in self._running.items()}

    def kill(self) -> None:
        """Whatever is left."""
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
def server() -> Iterator[str]:
    """With the roles that the chart's script makes, and their passwords. HOST:PORT/DATABASE."""
    if os.environ.get(postgresql.GIVEN):
        pytest.skip("not run: the roles of a server that was given are not ours to make")
    script = charts.render({}).named("ConfigMap", "bloomweaver-postgresql")["data"]["roles.sh"]
    [statements] = re.findall(r"<<'SQL'\n(.*?)SQL\n", script, re.DOTALL)
    with contextlib.ExitStack() as stack:
        with fixtures.or_not_run():
            started = stack.enter_context(postgresql.running(durable=False))
        connection = stack.enter_context(
            psycopg.connect(started.url, autocommit=True, passfile=started.env["PGPASSFILE"])
        )
        connection.execute(statements.replace(":'owner'", "'of the owner'").replace(":'service'", "'of the services'"))
        yield started.url.partition("@")[2]


@pytest.mark.timeout(900)
def test_the_processes_of_an_install_without_keda_pass_the_test_of_the_release(tmp_path: pathlib.Path, server: str):
    (tmp_path / "owner").write_text("of the owner\n")
    (tmp_path / "service").write_text("of the services\n")
    (tmp_path / "sealing").write_text("5e" * 32 + "\n")
    (tmp_path / "data").mkdir()
    rendered = charts.render(charts.values("laptop"))
    pods = Pods(tmp_path, server)
    [job] = rendered.of_kind("Job")
    [migration] = job["spec"]["template"]["spec"]["containers"]
    [test] = rendered.of_kind("Pod")[0]["spec"]["containers"]

    for _ in range(2):  # a hook may run again
        subprocess.run(migration["command"], env=pods.variables(migration, password="owner"), check=True)
    try:
        for deployment in rendered.of_kind("Deployment"):
            pods.start(deployment)
        assert pods.unready("/readyz") == set()
        [script] = test["args"]
        for service in ("webhook", "search"):
            script = re.sub(rf"{service}:\d+", f"{service}:{pods.ports['bloomweaver-' + service]}", script)
        script = re.sub(r"http://bloomweaver-\w+:", "http://127.0.0.1:", script)
        for _ in range(2):
            subprocess.run([*test["command"], script], env=pods.variables(test), cwd=tmp_path / "data", check=True)
        assert set(pods.end().values()) == {0}
    finally:
        pods.kill()
