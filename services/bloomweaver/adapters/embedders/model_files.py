"""A model directory in sentence-transformers layout: what model it is, and that its files are the right ones.

Invariant: a model is used only when every digest that is known (pinned in the table, or recorded when the directory was
first used) is the digest of the file that will be read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bloomweaver.adapters.embedders import precision
from bloomweaver.domain import errors, models, reasons

TOKENIZER = "tokenizer.json"
# In order of preference, the same for every runtime: two runtimes reading one directory stand in one space.
ARTEFACTS = ("model.safetensors", "model.onnx", "onnx/model.onnx", "openvino_model.xml", "openvino/openvino_model.xml")
_PARTS = ("Transformer", "Pooling", "Normalize")
_UNBOUNDED = 1_000_000
_MB = 1024 * 1024
_RUNTIME_BYTES = 96 * _MB
"""Python and a runtime with nothing loaded, at the least."""


def artefact_of(directory: Path, spec: models.ModelSpec, *, any_family: bool = False) -> Path:
    """The file with the weights that the runtime reads.

    any_family: torch reads model.safetensors of every family, the other runtimes of BERT alone.
    """
    from_weights = any_family or (spec.architecture is not None and spec.architecture.family == "bert")
    for name in ARTEFACTS if from_weights else ARTEFACTS[1:]:
        if (directory / name).is_file():
            return directory / name
    wanted = "model.safetensors or model.onnx" if from_weights else "model.onnx (its architecture is not BERT)"
    raise unusable(directory, f"{wanted} is missing", "Fetch the model again or export it to ONNX")


def architecture_of(directory: Path) -> models.Architecture:
    """The shape of the network, from config.json."""
    config = _json(directory / "config.json")
    try:
        shape = models.Architecture(
            family=config["model_type"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            activation=config.get("hidden_act", "gelu"),
            layer_norm_epsilon=config.get("layer_norm_eps", 1e-12),
        )
    except KeyError as error:
        raise unusable(directory, f"config.json has no {error}", "It must describe a text encoder") from error
    plain = shape.activation == "gelu" and config.get("position_embedding_type", "absolute") == "absolute"
    # A BERT with other inner parts is run from its ONNX export, like any other family.
    return shape if plain else dataclasses.replace(shape, family=f"{shape.family}-{shape.activation}")


def describe(directory: Path, *, name: str, source: models.Source) -> models.ModelSpec:
    """The spec that the directory's own files give, without digests."""
    pooling_path = _pooling_path(directory)
    pooling = _json(directory / pooling_path / "config.json") if pooling_path is not None else {}
    architecture = architecture_of(directory)
    dimension = int(pooling.get("word_embedding_dimension", architecture.hidden))
    if dimension != architecture.hidden:
        raise errors.ConfigurationError(
            reasons.Reason.DIMENSION_MISMATCH,
            f"{directory}: config.json gives vectors of {architecture.hidden}, its pooling config of {dimension}. "
            "Put the files of one model together.",
        )
    prompts = _json(directory / "config_sentence_transformers.json", optional=True).get("prompts") or {}
    # Not before a directory is to be described: who only names models of the table needs no tokenizer.
    from bloomweaver.adapters.embedders import tokenization

    tokenizer = tokenization.FileTokenizer(_present(directory / TOKENIZER))
    before, after = tokenizer.frame()
    said = precision.declared(directory, _json(directory / "config.json"), dimension=dimension)
    query, document = prompts.get("query", ""), prompts.get("document") or prompts.get("passage", "")
    return models.ModelSpec(
        name=name,
        source=source,
        dimension=dimension,
        max_tokens=_max_tokens(directory, architecture),
        pooling=_pooling(directory, pooling),
        architecture=architecture,
        special_tokens=len(before) + len(after),
        query_prefix=query,
        query_prefix_tokens=len(tokenizer.ids(query)),
        document_prefix=document,
        document_prefix_tokens=len(tokenizer.ids(document)),
        precision=models.Precision.INT8 if said.precision == precision.INT8 else models.Precision.EXACT,
        shorter=said.shorter,
    )


def verified(
    spec: models.ModelSpec, directory: Path, *, record: Path | None = None, any_family: bool = False
) -> models.ModelSpec:
    """The spec with the digests of the files that will be read, which equal every digest that is known.

    record: where digests that the table does not pin are kept from the first use on.
    """
    artefact = artefact_of(directory, spec, any_family=any_family)
    paths = [artefact, _present(directory / TOKENIZER)]
    if artefact.suffix == ".xml":
        paths.append(_present(artefact.with_suffix(".bin")))
    if spec.precision is models.Precision.INT8:
        paths += precision.graph_files(directory)
    found = {path.relative_to(directory).as_posix(): digest(path) for path in paths}
    known = dict(spec.digests) or (_json(record, optional=True) if record is not None else {})
    for file, expected in known.items():
        if found.get(file) != expected:
            hub = spec.source.origin is models.Origin.HUB
            advice = f"remove {directory}, so that it is fetched again" if hub else "fetch the model again"
            if record is not None and not spec.digests:
                advice += f", or remove {record} if the change was meant (it makes another vector space)"
            raise errors.ConfigurationError(
                reasons.Reason.MODEL_HASH_MISMATCH,
                f"{directory / file} is not the file that model {spec.name} was made with: expected sha256 {expected}, "
                f"found {found.get(file, 'no such file in use')}. To go on, {advice}.",
            )
    if not known and record is not None:
        _write(record, found)
    return dataclasses.replace(spec, digests=tuple(sorted(found.items())))


def recorded(spec: models.ModelSpec, record: Path) -> models.ModelSpec:
    """The spec with the digests of its first use, if there was one; reads no weights."""
    return dataclasses.replace(spec, digests=tuple(sorted(_json(record, optional=True).items())))


def digest(path: Path) -> str:
    """sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arithmetic_of(directory: Path, spec: models.ModelSpec) -> str | None:
    """`bf16` or `fp32` where the directory asks for one of them."""
    config = _json(directory / "config.json")
    asked = precision.declared(directory, config, dimension=spec.dimension).precision
    return asked if asked in precision.EXACT else None


def require_room(directory: Path, spec: models.ModelSpec, *, memory_bytes: int | None) -> None:
    """Refuses a model that cannot fit the memory that this process may have, rather than being killed for it."""
    paths = [artefact_of(directory, spec, any_family=True)]
    if spec.precision is models.Precision.INT8:
        paths += precision.graph_files(directory)
    needed = _RUNTIME_BYTES + sum(path.stat().st_size for path in paths)
    if memory_bytes is not None and memory_bytes < needed:
        raise unusable(
            directory,
            f"it needs about {needed // _MB} MB of memory and this process may have {memory_bytes // _MB} MB",
            f"Raise the memory limit above {needed // _MB} MB, or choose a smaller model",
        )


def unusable(directory: Path, why: str, advice: str) -> errors.ConfigurationError:
    """A model directory that cannot be used, in three parts."""
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE, f"the model in {directory} cannot be used: {why}. {advice}."
    )


def _modules(directory: Path) -> list[tuple[str, str]]:
    path = directory / "modules.json"
    if not path.is_file():
        return []
    return [(str(part["type"]).rsplit(".", 1)[-1], str(part["path"])) for part in json.loads(path.read_bytes())]


def _pooling_path(directory: Path) -> str | None:
    modules = _modules(directory)
    for kind, _ in modules:
        if kind not in _PARTS:
            raise unusable(directory, f"modules.json has a part {kind}", f"Only {', '.join(_PARTS)} are supported")
    return next((path for kind, path in modules if kind == "Pooling"), None)


def _pooling(directory: Path, config: Mapping[str, Any]) -> models.Pooling:
    chosen = {key.removeprefix("pooling_mode_") for key, value in config.items() if value is True}
    named = config.get("pooling_mode")
    chosen |= {named} if isinstance(named, str) else set()
    modes = {"mean_tokens": models.Pooling.MEAN, "cls_token": models.Pooling.CLS, "mean": models.Pooling.MEAN}
    modes["cls"] = models.Pooling.CLS
    pooling = {mode for name, mode in modes.items() if name in chosen}
    others = chosen & {"max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken", "max", "last"}
    if others or len(pooling) > 1:
        raise unusable(directory, f"it pools by {', '.join(sorted(chosen))}", "Only mean and cls are supported")
    return pooling.pop() if pooling else models.Pooling.MEAN


def _max_tokens(directory: Path, shape: models.Architecture) -> int:
    stated = _json(directory / "sentence_bert_config.json", optional=True).get("max_seq_length")
    if not stated:
        stated = _json(directory / "tokenizer_config.json", optional=True).get("model_max_length", _UNBOUNDED)
    return int(min(stated, shape.positions))


def _present(path: Path) -> Path:
    if not path.is_file():
        raise unusable(path.parent, f"{path.name} is missing", "Fetch the model again")
    return path


def _json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.is_file():
        return {}
    try:
        content = json.loads(_present(path).read_bytes())
    except ValueError as error:
        raise unusable(path.parent, f"{path.name} is not JSON", "Fetch the model again") from error
    return content if isinstance(content, dict) else {}


def _write(record: Path, found: Mapping[str, str]) -> None:
    there = next(folder for folder in record.parents if folder.exists())
    if not os.access(there, os.W_OK):
        return  # a volume to be read only: whoever fills it answers for what is in it
    record.parent.mkdir(parents=True, exist_ok=True)
    fresh = record.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(record)
