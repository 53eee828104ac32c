"""DynamoDB Local, Amazon's own test double, from Maven; it needs Java 17 or later, and Maven once.

It keeps everything in memory, takes any credentials, and answers consistently from indexes too: what lags with the real
service does not lag here. Its stock program listens on every address, so ours binds it to the loopback interface.
BLOOMWEAVER_TEST_DYNAMODB_URL names one that is already there.
"""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from tests.support.servers import processes

NAME = "DynamoDB Local"
GIVEN = "BLOOMWEAVER_TEST_DYNAMODB_URL"
VERSION = "2.6.1"

_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
_PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bloomweaver.tests</groupId>
  <artifactId>dynamodb</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>com.amazonaws</groupId>
      <artifactId>DynamoDBLocal</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
_PROGRAM = """
import com.amazonaws.services.dynamodbv2.local.main.ServerRunner;
import com.amazonaws.services.dynamodbv2.local.server.DynamoDBProxyServer;
import java.lang.reflect.Field;
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

public class OnLoopback {
    public static void main(String[] options) throws Exception {
        DynamoDBProxyServer proxy = ServerRunner.createServerFromCommandLineArgs(options);
        for (Field field : DynamoDBProxyServer.class.getDeclaredFields()) {
            if (!Server.class.isAssignableFrom(field.getType())) continue;
            field.setAccessible(true);
            for (Connector connector : ((Server) field.get(proxy)).getConnectors()) {
                ((ServerConnector) connector).setHost("127.0.0.1");
            }
        }
        proxy.start();
        proxy.join();
    }
}
"""


def prepare() -> str:
    """Fetched from Maven (51 MB) and compiled, into the cache."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    folder = processes.cache(f"dynamodb-{VERSION}")
    if not _is_complete(folder):
        for program in ("java", "javac", "mvn"):
            if shutil.which(program) is None:
                raise processes.Absent(f"{NAME}: there is no {program} on the PATH")
        (folder / "pom.xml").write_text(_PROJECT, encoding="utf-8")
        (folder / "OnLoopback.java").write_text(_PROGRAM, encoding="utf-8")
        _run(
            ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"],
            folder,
        )
        _run(["javac", "-cp", "lib/*", "OnLoopback.java"], folder)
    return f"{NAME} {VERSION}"


@contextlib.contextmanager
def running() -> Iterator[processes.Server]:
    """An empty one, in memory."""
    given = os.environ.get(GIVEN)
    if given:
        yield processes.Server(NAME, given, _CREDENTIALS)
        return
    programs = processes.cache(f"dynamodb-{VERSION}")
    if not _is_complete(programs) or shutil.which("java") is None:
        raise processes.Absent(f"{NAME}: not prepared, or no Java; `make backends` fetches it")
    port = processes.free_port()
    libraries = programs / "lib"
    command = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.library.path={libraries}",
               "-cp", f"{programs}:{libraries}/*", "OnLoopback",
               "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)]  # fmt: skip
    with (
        processes.folder("dynamodb") as folder,
        processes.started(command, name=NAME, folder=folder, ready=functools.partial(processes.answers, port)) as pid,
    ):
        yield processes.Server(NAME, f"http://127.0.0.1:{port}", _CREDENTIALS, pid)


def _is_complete(folder: pathlib.Path) -> bool:
    return (folder / "OnLoopback.class").exists()


def _run(command: list[str], folder: pathlib.Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise processes.Absent(f"{NAME}: {command[0]} failed: {(done.stderr or done.stdout)[-300:].strip()}")
