"""versitygw, an S3 server over a folder, built from its Go module; it needs Go once.

It checks signatures, conditions and checksums for real; it has no lifecycle rules, and whether encryption that is asked
for happens was not looked at. `Server.env` names a credentials file. BLOOMWEAVER_TEST_S3_URL names an S3 endpoint that
is already there, with its credentials in AWS_SHARED_CREDENTIALS_FILE.
"""

import contextlib
import functools
import os
import pathlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator

from tests.support import aws
from tests.support.servers import processes

NAME = "versitygw"
GIVEN = "BLOOMWEAVER_TEST_S3_URL"
VERSION = "1.8.0"
BUILD_SECONDS = 1200

_MODULE = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"


def prepare() -> str:
    """Built with Go (109 MB of modules, about a minute), into the cache."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    folder = processes.cache(f"versitygw-{VERSION}")
    if not (folder / NAME).exists():
        if shutil.which("go") is None:
            raise processes.Absent(f"{NAME}: there is no go on the PATH")
        building = folder / "building"
        command = ["nice", "-n", "5", "go", "install", "-trimpath", "-ldflags", "-s -w", _MODULE]
        done = subprocess.run(
            command, env={**os.environ, "GOBIN": str(building)}, cwd=folder, capture_output=True, text=True,
            check=False, timeout=BUILD_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise processes.Absent(f"{NAME}: go install failed: {done.stderr[-300:].strip()}")
        (building / NAME).rename(folder / NAME)
    return f"{NAME} {VERSION}"


@contextlib.contextmanager
def running() -> Iterator[processes.Server]:
    """An empty one in a folder of its own."""
    given = os.environ.get(GIVEN)
    if given:
        name = "AWS_SHARED_CREDENTIALS_FILE"
        yield processes.Server(NAME, given, {name: os.environ[name]})
        return
    program = processes.cache(f"versitygw-{VERSION}") / NAME
    if not program.exists():
        raise processes.Absent(f"{NAME}: not prepared; `make backends` builds it")
    port, secret = processes.free_port(), secrets.token_urlsafe(18)
    with processes.folder("versitygw") as folder:
        for name in ("objects", "sidecar"):
            (folder / name).mkdir()
        command = [str(program), "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive",
                   "posix", *_attributes(folder), str(folder / "objects")]  # fmt: skip
        keys = {"ROOT_ACCESS_KEY": aws.ACCESS_KEY, "ROOT_SECRET_KEY": secret}
        ready = functools.partial(processes.answers, port)
        with processes.started(command, name=NAME, folder=folder, ready=ready, env=keys) as pid:
            file = aws.credentials_file(folder, secret_key=secret)
            yield processes.Server(NAME, f"http://127.0.0.1:{port}", {"AWS_SHARED_CREDENTIALS_FILE": file}, pid)


def _attributes(folder: pathlib.Path) -> list[str]:
    """It keeps what belongs to an object in extended attributes, else in files beside it."""
    try:
        os.setxattr(folder, "user.bloomweaver", b"1")
    except OSError:
        return ["--sidecar", str(folder / "sidecar")]
    return []
