"""Folders and files that URLs name."""

import pathlib
import urllib.parse

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
