"""ElasticMQ, which speaks SQS's protocol, from Maven; it needs Java, and Maven once.

Everything is in memory, any credentials are taken, policies are not checked, and counts are exact: what is approximate
with the real service is not here. BLOOMWEAVER_TEST_ELASTICMQ_URL names one that is already there.
"""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from tests.support.servers import processes

NAME = "ElasticMQ"
GIVEN = "BLOOMWEAVER_TEST_ELASTICMQ_URL"
VERSION = "1.7.1"

_PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bloomweaver.tests</groupId>
  <artifactId>elasticmq</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.elasticmq</groupId>
      <artifactId>elasticmq-server_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
_SETTINGS = """include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
aws {{ region = us-east-1, accountId = 000000000000 }}
"""


def prepare() -> str:
    """Fetched from Maven (37 MB), into the cache."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    folder = processes.cache(f"elasticmq-{VERSION}")
    if not _is_complete(folder):
        for program in ("java", "mvn"):
            if shutil.which(program) is None:
                raise processes.Absent(f"{NAME}: there is no {program} on the PATH")
        (folder / "pom.xml").write_text(_PROJECT, encoding="utf-8")
        command = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=fetched",
                   "-DincludeScope=runtime"]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise processes.Absent(f"{NAME}: mvn failed: {(done.stderr or done.stdout)[-300:].strip()}")
        (folder / "fetched").rename(folder / "lib")  # so that what was broken off never looks complete
    return f"{NAME} {VERSION}"


@contextlib.contextmanager
def running(*, port: int | None = None) -> Iterator[processes.Server]:
    """An empty one, in memory. port: else a free one."""
    given = os.environ.get(GIVEN)
    if given:
        yield processes.Server(NAME, given)
        return
    programs = processes.cache(f"elasticmq-{VERSION}")
    if not _is_complete(programs) or shutil.which("java") is None:
        raise processes.Absent(f"{NAME}: not prepared, or no Java; `make backends` fetches it")
    port = port or processes.free_port()
    with processes.folder("elasticmq") as folder:
        settings = folder / "elasticmq.conf"
        settings.write_text(_SETTINGS.format(port=port), encoding="utf-8")
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dconfig.file={settings}",
                   "-cp", f"{programs / 'lib'}/*", "org.elasticmq.server.Main"]  # fmt: skip
        ready = functools.partial(processes.answers, port)
        with processes.started(command, name=NAME, folder=folder, ready=ready) as pid:
            yield processes.Server(NAME, f"http://127.0.0.1:{port}", pid=pid)


def _is_complete(folder: pathlib.Path) -> bool:
    return (folder / "lib").is_dir()
