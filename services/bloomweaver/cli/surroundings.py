"""What a command finds around it: variables, the data folder, the server and the key; and how its coroutine is run.

The key is looked for in BLOOMWEAVER_API_KEY, then in the file `key` of the data folder that `bloomweaver dev` writes.
The file is used for this machine's own server only: a key never goes to another host by default.
"""

import contextlib
import dataclasses
import pathlib
import sys
import urllib.parse
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from bloomweaver.cli import failures
from bloomweaver.runtime import environment

if TYPE_CHECKING:
    import httpx2

    from bloomweaver.cli import client

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_DATA = ".bloomweaver"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Which server, with which key. key_from: where the key was found, for `doctor`."""

    url: str
    key: str | None
    key_from: str
    data: pathlib.Path


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """transport: instead of the network, for a server in this process."""

    variables: Mapping[str, str]
    transport: "httpx2.AsyncBaseTransport | None" = None

    def data(self, given: pathlib.Path | None) -> pathlib.Path:
        """The data folder."""
        return given or pathlib.Path(self.variables.get("BLOOMWEAVER_DATA") or DEFAULT_DATA)

    def target(self, url: str | None, data: pathlib.Path | None) -> Target:
        """The server and the key that a command uses."""
        folder = self.data(data)
        address = check_url(url or self.variables.get("BLOOMWEAVER_URL") or DEFAULT_URL)
        key = self.variables.get("BLOOMWEAVER_API_KEY", "").strip()
        if key:
            return Target(address, key, "BLOOMWEAVER_API_KEY", folder)
        file = folder / "key"
        if urllib.parse.urlsplit(address).hostname not in LOOPBACK:
            return Target(address, None, "", folder)
        try:
            return Target(address, file.read_text(encoding="utf-8").strip() or None, str(file), folder)
        except FileNotFoundError:
            return Target(address, None, "", folder)
        except (OSError, UnicodeDecodeError) as error:
            raise failures.Failure(
                f"The key file {file} cannot be read.",
                why=str(error),
                advice="Correct its permissions, or set BLOOMWEAVER_API_KEY.",
                code=failures.ExitCode.NOT_ALLOWED,
            ) from error

    @contextlib.asynccontextmanager
    async def api(self, url: str | None, data: pathlib.Path | None) -> "AsyncIterator[client.Api]":
        """A client of the server, open until the context ends."""
        from bloomweaver.cli import client

        async with client.open_api(self.target(url, data), transport=self.transport) as opened:
            yield opened


def of(context: typer.Context) -> Surroundings:
    """The surroundings that `main` made, or a test gave."""
    found = context.find_object(Surroundings)
    return found if found is not None else Surroundings(environment.read())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Ctrl-C becomes exit code 130 and a sentence."""
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise failures.Failure(
            "Stopped.", why="Ctrl-C.", code=failures.ExitCode.INTERRUPTED, advice="What was acknowledged stays."
        ) from None


def run_serving(work: Coroutine[Any, Any, T]) -> T:
    """Run a server's coroutine, on the loop that carries the accept rate where there is one."""
    if sys.platform == "win32":
        return run(work)
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def is_folder(path: pathlib.Path) -> bool:
    """Whether it is a folder that is there."""
    return path.is_dir()


def check_url(url: str) -> str:
    """The address without a slash at its end."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise failures.usage(f"'{url}' is not the address of a server.", advice="It looks like http://127.0.0.1:8080.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise failures.usage("The server's address takes no credentials, query or fragment.")
    return url.rstrip("/")
