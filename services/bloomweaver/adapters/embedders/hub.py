"""Fetches a model directory from a hub over HTTP: one fixed revision, all files or none.

Files go to a folder of their own, which takes the model's name in one rename once every file is whole, so a directory
that has the name is complete. Digests are checked when the model is loaded, like those of any directory.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import httpx2

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


def fetch(model: str, revision: str, into: Path, *, base_url: str) -> Path:
    """Downloads `model` (organisation/name) to `into`; TransientError while the hub is away."""
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    root = f"{base_url}/{model}/resolve/{revision}"
    try:
        with _client(base_url) as client:
            for file in _REQUIRED:
                _download(client, f"{root}/{file}", partial / file)
            for file in _OPTIONAL:
                _optional(client, f"{root}/{file}", partial / file)
            if not any(_optional(client, f"{root}/{file}", partial / file) for file in model_files.ARTEFACTS[:3]):
                raise _missing(f"{root} has neither model.safetensors nor model.onnx")
        # Another process may have been quicker; its copy is as good.
        if not into.is_dir():
            partial.replace(into)
    except httpx2.HTTPError as error:
        detail = f"cannot fetch model {model}: {error}. Check the network, or put the files into {into}."
        raise errors.TransientError(reasons.Reason.EMBEDDER_UNAVAILABLE, detail, retry_after_seconds=30.0) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return into


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
    with client.stream("GET", url) as response:
        if response.status_code == _NOT_FOUND:
            raise _missing(f"{url} does not exist")
        response.raise_for_status()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for part in response.iter_bytes():
                file.write(part)


def _missing(why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE, f"{why}. Check the model's name and revision on the hub."
    )
