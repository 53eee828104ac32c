"""Fetches a model directory from a hub over HTTP: one fixed revision, all files or none.

Files go to a folder of their own, which takes the model's name in one rename once every file is whole, so a directory
that has the name is complete. Digests are checked when the model is loaded, like those of any directory. Processes that
share the folder fetch one after the other, and all but the first find the model there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2

from bloomweaver import logger
from bloomweaver.adapters.embedders import model_files
from bloomweaver.adapters.engines import destinations
from bloomweaver.domain import errors, reasons

_REQUIRED = ("config.json", model_files.TOKENIZER)
_OPTIONAL = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
)
_TIMEOUT_SECONDS = 60.0
_NOT_FOUND = 404
_NO_SUCH_RANGE = 416
_COMMIT = re.compile(r"[0-9a-f]{40}")
_log = logger.get("models")


def fetch(model: str, revision: str, into: Path, *, base_url: str) -> Path:
    """Downloads `model` (organisation/name) to `into`; TransientError while the hub is away.

    Of a commit, what an interrupted try has is kept, and the next one goes on from there. A branch may have moved
    meanwhile, so its files are fetched anew.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = into.with_name(f".{into.name}.partial")
    root = f"{base_url}/{model}/resolve/{revision}"
    try:
        with _alone(partial), _client(base_url) as client:
            if into.is_dir():
                return into  # another process was quicker; its copy is as good
            if not _COMMIT.fullmatch(revision):
                _empty(partial)
            _log.info("fetching_model", model=model, revision=revision, bytes_there=_bytes_in(partial))
            try:
                _fill(partial, client, root)
            except errors.ConfigurationError:
                _empty(partial)
                raise
            partial.replace(into)
    except httpx2.HTTPError as error:
        detail = f"cannot fetch model {model}: {error}. Check the network, or put the files into {into}."
        raise errors.TransientError(reasons.Reason.EMBEDDER_UNAVAILABLE, detail, retry_after_seconds=30.0) from error
    return into


def _fill(partial: Path, client: httpx2.Client, root: str) -> None:
    for file in _REQUIRED:
        _download(client, f"{root}/{file}", partial / file)
    for file in _OPTIONAL:
        _optional(client, f"{root}/{file}", partial / file)
    if not any(_optional(client, f"{root}/{file}", partial / file) for file in model_files.ARTEFACTS[:3]):
        raise _missing(f"{root} has neither model.safetensors nor model.onnx")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time fills the folder; it is made again where another has just given it its name."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            held = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            if _is_at(held, folder):
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        folder.rmdir()  # where nothing came of it
                return
        finally:
            os.close(held)


def _is_at(held: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), folder.stat())
    except FileNotFoundError:
        return False


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _client(base_url: str) -> httpx2.Client:
    """Follows redirects to public addresses only. A hub on plain HTTP is where its operator wants it."""
    trusted = {httpx2.URL(base_url).host} if httpx2.URL(base_url).scheme == "http" else set()
    guard = destinations.GuardedTransport(httpx2.HTTPTransport(), trusted=trusted)
    return httpx2.Client(transport=guard, follow_redirects=True, timeout=_TIMEOUT_SECONDS)


def _optional(client: httpx2.Client, url: str, path: Path) -> bool:
    try:
        _download(client, url, path)
    except destinations.Forbidden:
        raise
    except errors.ConfigurationError:
        return False
    return True


def _download(client: httpx2.Client, url: str, path: Path) -> None:
    """The file, or what is missing of it since an earlier try."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.etag")
    there = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # a range of what a server compresses on the way means nothing
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": tag.read_text(encoding="ascii")}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == _NOT_FOUND:
            raise _missing(f"{url} does not exist")
        if response.status_code == _NO_SUCH_RANGE:
            part.unlink()
            raise httpx2.RemoteProtocolError(f"{url} has fewer bytes than came before; it is fetched anew")
        response.raise_for_status()
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        _note(tag, response.headers.get("ETag", ""))
        with part.open("ab" if there and goes_on else "wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
    tag.unlink(missing_ok=True)
    part.replace(path)


def _note(tag: Path, etag: str) -> None:
    """What a later try has to name to get the rest of the same bytes; weak ones do not promise the same bytes."""
    if etag.isascii() and etag.startswith('"'):
        tag.write_text(etag, encoding="ascii")
    else:
        tag.unlink(missing_ok=True)


def _missing(why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE, f"{why}. Check the model's name and revision on the hub."
    )
