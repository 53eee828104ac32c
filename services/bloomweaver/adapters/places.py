"""What URLs name: a scheme, a folder, a file."""

import pathlib
import urllib.parse
from collections.abc import Iterable

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason


def sqlite_path(url: str) -> pathlib.Path:
    """The file of a database."""
    return pathlib.Path(url.removeprefix("sqlite:///")).absolute()


def folder(url: str) -> pathlib.Path:
    """The folder of a file:// URL."""
    parts = urllib.parse.urlsplit(url)
    path = pathlib.Path(urllib.parse.unquote(parts.path))
    if parts.netloc or path == pathlib.Path("/") or not path.is_absolute():
        detail = f"{url!r} is no folder. Write file:///folder, with three slashes, from the root."
        raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    return path


def make_folder(folder: pathlib.Path) -> None:
    """With all above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        detail = f"The folder {folder} cannot be made: {error.strerror}."
        raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from error


def scheme(url: str, *, known: Iterable[str], what: str) -> str:
    """The URL's scheme, which is one of those that are known."""
    found, separator, _ = url.partition("://")
    if not separator or found not in known:
        names = ", ".join(f"{name}://" for name in known)
        detail = f"{url!r} is no address for {what}. This release knows {names}."
        raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
    return found
