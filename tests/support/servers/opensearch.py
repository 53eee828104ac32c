"""OpenSearch with its k-NN plugin, put together from Maven's artifacts; it needs Java 17 or later, and Maven once.

There is no archive of the server on Maven Central, but all its parts: the libraries, the modules as jars, for which the
descriptors and policies are written here, and the plugin. Native libraries are not among them: an index of any engine
but `lucene` would end the server at the first write. It has no security plugin, so nobody signs in.
BLOOMWEAVER_TEST_OPENSEARCH_URL names one that is already there.
"""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence

from tests.support.servers import processes

NAME = "OpenSearch"
GIVEN = "BLOOMWEAVER_TEST_OPENSEARCH_URL"
VERSION = "2.19.1"
MEMORY = "512m"

_LIBRARIES = (
    ("org.opensearch", "opensearch", VERSION),
    ("org.opensearch", "opensearch-plugin-classloader", VERSION),
    ("org.apache.logging.log4j", "log4j-core", "2.21.0"),
    ("net.java.dev.jna", "jna", "5.13.0"),
)
_MODULES: Mapping[str, tuple[str, Sequence[str]]] = {
    "transport-netty4": (
        "org.opensearch.transport.Netty4Plugin",
        ("transport-netty4-client-*.jar", "netty-*.jar"),
    ),
    "lang-painless": (
        "org.opensearch.painless.PainlessPlugin",
        ("lang-painless-*.jar", "opensearch-scripting-painless-spi-*.jar", "antlr4-runtime-*.jar", "asm-*.jar"),
    ),
    "reindex": (
        "org.opensearch.index.reindex.ReindexPlugin",
        ("reindex-client-*.jar", "opensearch-rest-client-*.jar", "opensearch-ssl-config-*.jar", "http*.jar",
         "commons-*.jar"),
    ),
}  # fmt: skip
_MODULE_JARS = tuple(
    ("org.opensearch.plugin", name, VERSION) for name in ("transport-netty4-client", "lang-painless", "reindex-client")
)
_POLICIES = {
    "transport-netty4": """
grant codeBase "${codebase.netty-common}" {
  permission java.io.FilePermission "/proc/sys/net/core/somaxconn", "read";
  permission java.net.SocketPermission "*", "accept,connect";
  permission java.lang.RuntimePermission "setContextClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
};
grant codeBase "${codebase.netty-transport}" {
  permission java.util.PropertyPermission "sun.nio.ch.bugLevel", "write";
  permission java.net.SocketPermission "*", "accept,connect";
};
""",
    "lang-painless": """
grant {
  permission java.lang.RuntimePermission "createClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
};
""",
    "reindex": """
grant codeBase "${codebase.opensearch-rest-client}" {
  permission java.net.NetPermission "getProxySelector";
};
grant codeBase "${codebase.httpasyncclient}" {
  permission java.net.SocketPermission "*", "connect";
  permission java.net.NetPermission "getProxySelector";
};
grant codeBase "${codebase.httpcore-nio}" {
  permission java.net.SocketPermission "*", "connect";
};
""",
}
_DESCRIPTOR = """description={name}
version={version}
name={name}
classname={main}
java.version=11
opensearch.version={version}
custom.foldername=
extended.plugins=
has.native.controller=false
"""
_SETTINGS = """cluster.name: tests
node.name: one
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
path.data: {folder}/data
path.logs: {folder}/logs
cluster.routing.allocation.disk.threshold_enabled: false
"""
_LOGGING = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def prepare() -> str:
    """Fetched from Maven (55 MB) and put together, in the cache."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    folder = processes.cache(f"opensearch-{VERSION}")
    if not (folder / "home").is_dir():
        for program in ("java", "mvn"):
            if shutil.which(program) is None:
                raise processes.Absent(f"{NAME}: there is no {program} on the PATH")
        building, jars = folder / "building", folder / "jars"
        for old in (building, jars):
            shutil.rmtree(old, ignore_errors=True)
        _fetch(folder, "libraries", _LIBRARIES, into=building / "lib")
        _fetch(folder, "modules", _MODULE_JARS, into=jars)
        _plugin(folder, building / "plugins" / "opensearch-knn")
        _put_together(building, jars)
        shutil.rmtree(jars)
        building.rename(folder / "home")  # so that what was broken off never looks complete
    return f"{NAME} {VERSION} with k-NN"


@contextlib.contextmanager
def running() -> Iterator[processes.Server]:
    """An empty one; its data go with it."""
    given = os.environ.get(GIVEN)
    if given:
        yield processes.Server(NAME, given)
        return
    prepared = processes.cache(f"opensearch-{VERSION}") / "home"
    if not prepared.is_dir() or shutil.which("java") is None:
        raise processes.Absent(f"{NAME}: not prepared, or no Java; `make backends` fetches it")
    owner = processes.account()
    port, transport = processes.free_port(), processes.free_port()
    with processes.folder("opensearch", owner=owner) as folder:
        home = folder / "home"
        shutil.copytree(prepared, home)  # it writes beside its programs, and its account may not enter the cache
        (home / "config").mkdir()
        settings = _SETTINGS.format(http=port, transport=transport, folder=folder)
        (home / "config" / "opensearch.yml").write_text(settings, encoding="utf-8")
        (home / "config" / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        for name in ("tmp", "extensions", "bin"):
            (home / name).mkdir()
        for name in ("data", "logs"):
            (folder / name).mkdir()
        if owner is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, owner, owner)
        ready = functools.partial(_ready, port)
        with processes.started(_command(home), name=NAME, folder=folder, ready=ready, owner=owner) as pid:
            yield processes.Server(NAME, f"http://127.0.0.1:{port}", pid=pid)


def _command(home: pathlib.Path) -> list[str]:
    options = ["-Dopensearch.networkaddress.cache.ttl=60", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8",
               "-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
               "-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0",
               "-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true", "-Djava.security.manager=allow",
               "-Djava.locale.providers=SPI,COMPAT", "-Dopensearch.distribution.type=tar",
               f"-Djava.io.tmpdir={home / 'tmp'}", f"-Dopensearch.path.home={home}",
               f"-Dopensearch.path.conf={home / 'config'}"]  # fmt: skip
    return ["java", f"-Xms{MEMORY}", f"-Xmx{MEMORY}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "--add-opens", "java.base/java.nio=ALL-UNNAMED", *options, "-cp", f"{home / 'lib'}/*",
            "org.opensearch.bootstrap.OpenSearch"]  # fmt: skip


def _ready(port: int) -> bool:
    asked = f"http://127.0.0.1:{port}/_cluster/health?wait_for_status=yellow&timeout=1s"
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _fetch(folder: pathlib.Path, name: str, artifacts: Sequence[tuple[str, str, str]], *, into: pathlib.Path) -> None:
    needed = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        "</dependency>"
        for group, artifact, version in artifacts
    )
    project = folder / f"{name}.xml"
    project.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>bloomweaver.tests</groupId><artifactId>{name}</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{needed}</dependencies></project>",
        encoding="utf-8",
    )
    _maven(folder, "-f", project.name, "dependency:copy-dependencies", "-DincludeScope=runtime",
           f"-DoutputDirectory={into}")  # fmt: skip


def _plugin(folder: pathlib.Path, into: pathlib.Path) -> None:
    artifact = f"org.opensearch.plugin:opensearch-knn:{VERSION}.0:zip"
    _maven(folder, "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder / 'jars'}")
    with zipfile.ZipFile(folder / "jars" / f"opensearch-knn-{VERSION}.0.zip") as archive:
        archive.extractall(into)


def _maven(folder: pathlib.Path, *arguments: str) -> None:
    done = subprocess.run(
        ["mvn", "-B", "-q", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise processes.Absent(f"{NAME}: mvn failed: {(done.stderr or done.stdout)[-300:].strip()}")


def _put_together(home: pathlib.Path, jars: pathlib.Path) -> None:
    for library in (home / "lib").iterdir():
        (jars / library.name).unlink(missing_ok=True)  # a jar in a library and a module stops the server
    for name, (main, patterns) in _MODULES.items():
        folder = home / "modules" / name
        folder.mkdir(parents=True)
        for pattern in patterns:
            for jar in jars.glob(pattern):
                shutil.copy(jar, folder)
        descriptor = _DESCRIPTOR.format(name=name, version=VERSION, main=main)
        (folder / "plugin-descriptor.properties").write_text(descriptor, encoding="utf-8")
        (folder / "plugin-security.policy").write_text(_POLICIES[name], encoding="utf-8")
