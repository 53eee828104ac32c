"""From a URL to an open embedder: which model, which files, which runtime.

`mem://?dimension=8`, `openvino://MODEL`, `onnx://MODEL`, `sentence-transformers://MODEL`, `hf://org/name@revision`, or
a plain model name for the best runtime installed; `adapters.embedders.serving` has the schemes of services elsewhere.
MODEL is a name of the table, a directory under the models directory, or a path.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import importlib
import importlib.util
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent import futures
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bloomweaver import logger  # noqa: F401  # before threads load what logs: see there
from bloomweaver.adapters.embedders import memory, model_files, precision, serving
from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

SCHEMES = ("mem", "openvino", "onnx", "sentence-transformers", "hf", *serving.SCHEMES)
NONE_HOSTED: Final[Mapping[str, str]] = MappingProxyType({})
PUBLIC_HUB = "https://huggingface.co"
_TORCH = "sentence-transformers"
_RECORDS = ".digests"


class State(StrEnum):
    """Whether a model could be loaded now, as far as its files tell."""

    READY = "ready"
    NOT_FETCHED = "not_fetched"
    UNUSABLE = "unusable"


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """A line of the model table; `detail` says what to do about a model that is not ready."""

    spec: models.ModelSpec
    state: State
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a model is loaded.

    models_dir: user models, fetched models and recorded digests. threads: cores that one inference may use.
    memory_bytes: what this process may have, None for no limit. proven: refuse a quantised model without its proof.
    exact: leave a quantised graph out, to measure it against.
    arithmetic: `bf16` or `fp32`, None for what the model or else the processor asks for. quantised: refuse any other.
    """

    models_dir: Path
    threads: int
    hub_url: str = PUBLIC_HUB
    memory_bytes: int | None = None
    proven: bool = True
    exact: bool = False
    arithmetic: str | None = None
    quantised: bool = False


async def open_embedder(
    url: str, *, models_dir: Path, threads: int, hub_url: str = PUBLIC_HUB, hosted: Mapping[str, str] = NONE_HOSTED
) -> embedders.Embedder:
    """The embedder that `url` names, loaded and ready; the caller closes it. `Wishes` says what the arguments are."""
    return await open_with(url, Wishes(models_dir=models_dir, threads=threads, hub_url=hub_url), hosted=hosted)


async def open_with(url: str, wishes: Wishes, *, hosted: Mapping[str, str] = NONE_HOSTED) -> embedders.Embedder:
    """The same with all that may be wished. hosted: URLs of models elsewhere, by the name that collections use."""
    address = hosted.get(url, url)
    scheme, location = _split(address)
    if scheme in serving.SCHEMES:
        name = url if url in hosted else None
        return await serving.open_embedder(address, models_dir=wishes.models_dir, name=name)
    if scheme == "mem":
        return memory.MemoryEmbedder(_memory_spec(url))
    asked = _with_precision(wishes, address)
    # Loading reads and compiles for a good part of a second; the loop has other work.
    return await asyncio.to_thread(_load, scheme, location, asked)


def resolve(model: str, *, models_dir: Path, any_family: bool = False) -> models.ModelSpec:
    """The spec of a model by name or path, digests included, without loading it; Refusal if there is none.

    any_family: for torch, which needs no ONNX export of a model that is not BERT. Hashes the files of a model that is
    not in the table: call it in a thread.
    """
    provided = models.PROVIDED.get(model)
    if provided is not None:
        return provided
    directory = models_dir / model if (models_dir / model).is_dir() else Path(model)
    if not directory.is_dir():
        known = ", ".join(sorted(models.PROVIDED))
        detail = f"no model {model}: it is neither one of {known} nor a directory under {models_dir}"
        raise errors.Refusal(reasons.Reason.MODEL_NOT_FOUND, detail)
    source = models.Source(models.Origin.DIRECTORY, str(directory.resolve()))
    spec = model_files.describe(directory, name=directory.name, source=source)
    return model_files.verified(spec, directory, record=_record(directory, models_dir), any_family=any_family)


def located(model: str, *, models_dir: Path) -> tuple[models.ModelSpec, Path]:
    """A model's spec and the directory of its files, for who works on these."""
    return _provided_or_directory(_split(model)[1], models_dir, hub_url=PUBLIC_HUB, any_family=False)


def described(
    url: str, *, models_dir: Path, hub_url: str = PUBLIC_HUB, hosted: Mapping[str, str] = NONE_HOSTED
) -> models.ModelSpec:
    """The spec of what `open_embedder` would load, for a process that only has to know it. Fetches an `hf://` model."""
    address = hosted.get(url, url)
    scheme, location = _split(address)
    if scheme in serving.SCHEMES:
        return serving.spec_of(address, name=url if url in hosted else None)
    if scheme == "mem":
        return _memory_spec(url)
    if scheme == "hf":
        return _from_hub(location, models_dir, hub_url=hub_url, any_family=False)[0]
    return resolve(location, models_dir=models_dir, any_family=scheme == _TORCH)


def listing(*, models_dir: Path, hosted: Mapping[str, str] = NONE_HOSTED) -> list[Listed]:
    """The provided models, those in the models directory and hosted ones, by name. Hashes nothing: digests are those
    recorded."""
    listed = [_listed_provided(spec, models_dir) for spec in models.PROVIDED.values()]
    listed += [Listed(serving.spec_of(url, name=name), State.READY) for name, url in hosted.items()]
    found = sorted(path for path in models_dir.iterdir() if path.is_dir()) if models_dir.is_dir() else []
    listed += [
        _listed_directory(directory, models_dir)
        for directory in found
        if not directory.name.startswith(".") and directory.name not in models.PROVIDED
    ]
    return sorted(listed, key=lambda line: line.spec.name)


def _load(scheme: str, location: str, wishes: Wishes) -> embedders.Embedder:
    find = _from_hub if scheme == "hf" else _provided_or_directory
    name = scheme if scheme in _RUNTIMES else _best_runtime()
    # Hashing the weights leaves the interpreter free, so the runtime is imported meanwhile.
    with futures.ThreadPoolExecutor(1, "load-model") as beside:
        found = beside.submit(find, location, wishes.models_dir, hub_url=wishes.hub_url, any_family=name == _TORCH)
        importlib.import_module(_RUNTIMES[name][0])
        spec, directory = found.result()
    model_files.require_room(directory, spec, memory_bytes=wishes.memory_bytes)
    if spec.precision is models.Precision.INT8:
        if name != "openvino":
            raise model_files.unusable(directory, f"{name} does not run int8 models", "Name it with openvino://")
        if wishes.proven:
            precision.require_proven(directory, spec)
    elif wishes.quantised:
        raise model_files.unusable(directory, "it is not quantised", "Make it with models build, or wish no int8")
    arithmetic = wishes.arithmetic or model_files.arithmetic_of(directory, spec)
    return _RUNTIMES[name][1](spec, directory, dataclasses.replace(wishes, arithmetic=arithmetic))


def _provided_or_directory(
    location: str, models_dir: Path, *, hub_url: str, any_family: bool
) -> tuple[models.ModelSpec, Path]:
    spec = models.PROVIDED.get(location)
    if spec is None:
        spec = resolve(location, models_dir=models_dir, any_family=any_family)
        return spec, Path(spec.source.location)
    directory = _directory_of(spec, models_dir)
    if directory is None and spec.source.origin is models.Origin.HUB:
        directory = models_dir / spec.name
        _fetch(spec.source, directory, hub_url)
    if directory is None:
        raise errors.ConfigurationError(
            reasons.Reason.MODEL_NOT_USABLE,
            f"model {spec.name} comes with the package {spec.source.location}, which is not installed. Install it "
            f"(without its dependencies), or put the model's files into {models_dir / spec.name}.",
        )
    if model_files.architecture_of(directory) != spec.architecture:
        raise model_files.unusable(directory, f"its config.json is not that of {spec.name}", "Fetch the model again")
    return model_files.verified(spec, directory), directory


def _from_hub(location: str, models_dir: Path, *, hub_url: str, any_family: bool) -> tuple[models.ModelSpec, Path]:
    model, _, revision = location.partition("@")
    directory = models_dir / f"{model.replace('/', '--')}@{revision or 'main'}"
    source = models.Source(models.Origin.HUB, model, revision or "main")
    if not directory.is_dir():
        _fetch(source, directory, hub_url)
    spec = model_files.describe(directory, name=directory.name, source=source)
    record = _record(directory, models_dir)
    return model_files.verified(spec, directory, record=record, any_family=any_family), directory


def _fetch(source: models.Source, directory: Path, hub_url: str) -> None:
    # The HTTP client costs a tenth of a second to import, and a cold start does not need it.
    from bloomweaver.adapters.embedders import hub

    hub.fetch(source.location, source.revision or "main", directory, base_url=hub_url)


def _directory_of(spec: models.ModelSpec, models_dir: Path) -> Path | None:
    if spec.source.origin is models.Origin.WHEEL:
        # find_spec does not import a top-level package, and this one would pull in torch.
        package = importlib.util.find_spec(spec.source.location.replace("-", "_"))
        if package is not None and package.origin is not None:
            return Path(package.origin).parent / "model"
    directory = models_dir / spec.name
    return directory if directory.is_dir() else None


def _record(directory: Path, models_dir: Path) -> Path:
    place = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:8]
    return models_dir / _RECORDS / f"{directory.name}-{place}.json"


def _listed_provided(spec: models.ModelSpec, models_dir: Path) -> Listed:
    if _directory_of(spec, models_dir) is not None:
        return Listed(spec, State.READY)
    if spec.source.origin is models.Origin.HUB:
        return Listed(spec, State.NOT_FETCHED, f"fetched from the hub when first used, or put into {models_dir}")
    return Listed(spec, State.NOT_FETCHED, f"install the package {spec.source.location}")


def _listed_directory(directory: Path, models_dir: Path) -> Listed:
    source = models.Source(models.Origin.DIRECTORY, str(directory))
    try:
        spec = model_files.describe(directory, name=directory.name, source=source)
        model_files.artefact_of(directory, spec)
        return Listed(model_files.recorded(spec, _record(directory, models_dir)), State.READY)
    except errors.ConfigurationError as error:
        empty = models.ModelSpec(
            name=directory.name, source=source, dimension=0, max_tokens=0, pooling=models.Pooling.MEAN
        )
        return Listed(empty, State.UNUSABLE, error.detail)


def _split(url: str) -> tuple[str, str]:
    if "://" not in url:
        return "", url
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise errors.ConfigurationError(
            reasons.Reason.INVALID_CONFIGURATION, f"unknown embedder {url}: use a model's name or one of {known}"
        )
    return parts.scheme, urllib.parse.unquote(parts.netloc + parts.path)


def _with_precision(wishes: Wishes, url: str) -> Wishes:
    """What `?precision=` wishes: fp32 or bf16, to measure one against the other; int8, to be sure of what is there."""
    given = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)) if "://" in url else {}
    asked = given.pop("precision", None)
    if given or asked not in (None, precision.INT8, *precision.EXACT):
        detail = f"{url}: an embedder's URL takes ?precision=bf16, fp32 or int8 and nothing else"
        raise errors.ConfigurationError(reasons.Reason.INVALID_CONFIGURATION, detail)
    if asked == precision.INT8:
        return dataclasses.replace(wishes, quantised=True)
    return dataclasses.replace(wishes, arithmetic=asked or wishes.arithmetic)


def _memory_spec(url: str) -> models.ModelSpec:
    given = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    try:
        return memory.spec_of(
            dimension=int(given.pop("dimension", 8)), max_tokens=int(given.pop("max_tokens", 256)), **given
        )
    except (TypeError, ValueError) as error:
        raise errors.ConfigurationError(reasons.Reason.INVALID_CONFIGURATION, f"{url}: {error}") from error


def _openvino(spec: models.ModelSpec, directory: Path, wishes: Wishes) -> embedders.Embedder:
    from bloomweaver.adapters.embedders import local, openvino, tokenization

    artefact = model_files.artefact_of(directory, spec)
    integers = spec.precision is models.Precision.INT8 and not wishes.exact
    quantised = directory / precision.GRAPH if integers else None
    # Compiling leaves the interpreter free, so the tokenizer is read meanwhile.
    with futures.ThreadPoolExecutor(1, "compile-model") as beside:
        runner = beside.submit(
            openvino.OpenVinoRunner,
            artefact,
            spec,
            threads=wishes.threads,
            arithmetic=wishes.arithmetic,
            quantised=quantised,
        )
        tokenizer = tokenization.FileTokenizer(directory / model_files.TOKENIZER)
        return local.LocalEmbedder(spec, tokenizer, runner.result())


def _onnx(spec: models.ModelSpec, directory: Path, wishes: Wishes) -> embedders.Embedder:
    from bloomweaver.adapters.embedders import local, onnx, tokenization

    tokenizer = tokenization.FileTokenizer(directory / model_files.TOKENIZER)
    artefact = model_files.artefact_of(directory, spec)
    return local.LocalEmbedder(spec, tokenizer, onnx.OnnxRunner(artefact, spec, threads=wishes.threads))


def _sentence_transformers(spec: models.ModelSpec, directory: Path, wishes: Wishes) -> embedders.Embedder:
    from bloomweaver.adapters.embedders import local, sentence_transformers, tokenization

    tokenizer = tokenization.FileTokenizer(directory / model_files.TOKENIZER)
    return local.LocalEmbedder(spec, tokenizer, sentence_transformers.TorchRunner(directory, threads=wishes.threads))


def _best_runtime() -> str:
    return "openvino" if importlib.util.find_spec("openvino") is not None else "onnx"


_PACKAGE = "bloomweaver.adapters.embedders"
_RUNTIMES: dict[str, tuple[str, Callable[[models.ModelSpec, Path, Wishes], embedders.Embedder]]] = {
    "openvino": (f"{_PACKAGE}.openvino", _openvino),
    "onnx": (f"{_PACKAGE}.onnx", _onnx),
    _TORCH: (f"{_PACKAGE}.sentence_transformers", _sentence_transformers),
}
