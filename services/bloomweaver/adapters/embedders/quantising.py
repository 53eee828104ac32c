"""Makes an int8 graph of a model: weights and activations of every matrix multiplication in eight bits.

The network comes from the same description as the exact one (`bert`), is calibrated on texts of its later use, and is
kept only if it really multiplies integers: a file that merely stores small weights is slower than fp32.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bloomweaver.adapters.embedders import bert, model_files, openvino_graph, precision, tokenization, weights
from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

try:
    import nncf
    import openvino as ov
except ImportError as error:
    raise errors.ConfigurationError(
        reasons.Reason.INVALID_CONFIGURATION,
        "int8 models are built with NNCF, which is not installed. Install it where models are built: "
        "pip install 'bloomweaver[build]'.",
    ) from error

_COPIED = (
    "config.json",
    model_files.TOKENIZER,
    "model.safetensors",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
)


def build(source: Path, into: Path, spec: models.ModelSpec, passages: Sequence[embedders.Passage]) -> None:
    """A model directory at `into` with the exact model of `source` and a quantised graph for its documents.

    passages: of its later use, to see in which range its activations are.
    """
    artefact = source / "model.safetensors"
    if spec.architecture is None or spec.architecture.family != bert.FAMILY or not artefact.is_file():
        raise model_files.unusable(
            source, "only BERT models with model.safetensors can be quantised", "Use it as it is"
        )
    graph = openvino_graph.model(weights.Weights(artefact), spec.architecture)
    tokenizer = tokenization.FileTokenizer(source / model_files.TOKENIZER)
    before, after = tokenization.fitted(spec, tokenizer)
    prefix = tokenizer.ids(spec.document_prefix)
    fed = []
    for passage in passages:
        row = np.array([[*before, *prefix, *passage.ids, *after]], np.int32)
        fed.append(bert.feed(row, np.ones(row.shape, np.float32)))
    quantised = nncf.quantize(
        graph, nncf.Dataset(fed), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(fed), fast_bias_correction=True
    )
    openvino_graph.require_integers(quantised, into)
    part = into.with_name(f".{into.name}-part")
    shutil.rmtree(part, ignore_errors=True)
    for name in _COPIED:
        if (source / name).is_file():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, part / name)
    _declare(part, spec)
    (part / precision.GRAPH).parent.mkdir()
    ov.save_model(quantised, str(part / precision.GRAPH), compress_to_fp16=False)
    if into.exists():
        shutil.rmtree(into)
    part.rename(into)


def _declare(part: Path, spec: models.ModelSpec) -> None:
    said: dict[str, object] = {"precision": precision.INT8}
    if spec.shorter:
        said["dimensions"] = list(spec.shorter)
    (part / precision.DECLARATION).write_text(json.dumps(said) + "\n", encoding="utf-8")
    if not (part / "sentence_bert_config.json").is_file():
        (part / "sentence_bert_config.json").write_text(
            json.dumps({"max_seq_length": spec.max_tokens}) + "\n", encoding="utf-8"
        )
    if not (part / "config_sentence_transformers.json").is_file() and (spec.query_prefix or spec.document_prefix):
        prompts = {"query": spec.query_prefix, "document": spec.document_prefix}
        (part / "config_sentence_transformers.json").write_text(
            json.dumps({"prompts": prompts}) + "\n", encoding="utf-8"
        )
