"""The BERT encoder, written once for every runtime: `build` describes it in terms of `Ops`, each runtime supplies them.

Weights come straight from the model's safetensors file, so there is no export step, no second copy on disk, and the
digest of that one file says what runs. The output is the last hidden state, one vector per token.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bloomweaver.adapters.embedders import weights
from bloomweaver.domain import errors, models, reasons

NodeT = TypeVar("NodeT")

FAMILY = "bert"
INPUTS = frozenset({"ids", "bias", "positions"})
MASKED = -1e9
"""Added to the scores of padding: far below any score, and finite in bf16."""


class Ops(Protocol[NodeT]):
    """What a runtime must be able to express. `name` is unique within the graph."""

    ids: NodeT
    positions: NodeT

    def lookup(self, name: str, table: weights.Array, indices: NodeT) -> NodeT: ...

    def linear(self, name: str, x: NodeT, weight: weights.Array, bias: weights.Array) -> NodeT:
        """x times the transpose of `weight` (out, in), plus bias."""
        ...

    def layer_norm(self, name: str, x: NodeT, weight: weights.Array, bias: weights.Array, epsilon: float) -> NodeT: ...

    def attention(self, name: str, query: NodeT, key: NodeT, value: NodeT, heads: int) -> NodeT:
        """Scaled dot product over all heads, padding masked, heads merged again."""
        ...

    def gelu(self, name: str, x: NodeT) -> NodeT:
        """The exact one, by erf."""
        ...

    def add(self, name: str, a: NodeT, b: NodeT) -> NodeT: ...


def build(ops: Ops[NodeT], tensors: weights.Weights, shape: models.Architecture) -> NodeT:
    """The graph's last hidden state."""
    _check(tensors, shape)
    epsilon = shape.layer_norm_epsilon

    def linear(name: str, x: NodeT) -> NodeT:
        return ops.linear(name, x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name: str, x: NodeT) -> NodeT:
        return ops.layer_norm(name, x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], epsilon)

    # Every text is one segment, so the first row of the segment table joins the positions for good.
    places = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    words = ops.lookup("words", tensors["embeddings.word_embeddings.weight"], ops.ids)
    x = norm("embeddings.LayerNorm", ops.add("embeddings", words, ops.lookup("places", places, ops.positions)))
    for layer in range(shape.layers):
        at = f"encoder.layer.{layer}"
        query, key, value = (linear(f"{at}.attention.self.{part}", x) for part in ("query", "key", "value"))
        mixed = linear(f"{at}.attention.output.dense", ops.attention(at, query, key, value, shape.heads))
        x = norm(f"{at}.attention.output.LayerNorm", ops.add(f"{at}.attended", x, mixed))
        wide = ops.gelu(f"{at}.gelu", linear(f"{at}.intermediate.dense", x))
        x = norm(f"{at}.output.LayerNorm", ops.add(f"{at}.fed", x, linear(f"{at}.output.dense", wide)))
    return x


def feed(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> dict[str, NDArray[np.int32] | NDArray[np.float32]]:
    """The inputs of the graph for padded ids; mask is 1 for tokens and 0 for padding."""
    bias = (np.float32(1) - mask) * np.float32(MASKED)
    positions = np.arange(ids.shape[1], dtype=np.int32)
    return {"ids": ids, "bias": bias[:, np.newaxis, np.newaxis], "positions": positions}


def _shapes(shape: models.Architecture) -> dict[str, tuple[int, ...]]:
    hidden, wide = shape.hidden, shape.intermediate
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (shape.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (shape.positions, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    sizes = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "attention.output.LayerNorm": (hidden,),
        "intermediate.dense": (wide, hidden),
        "output.dense": (hidden, wide),
        "output.LayerNorm": (hidden,),
    }
    for layer in range(shape.layers):
        for part, size in sizes.items():
            shapes[f"encoder.layer.{layer}.{part}.weight"] = size
            shapes[f"encoder.layer.{layer}.{part}.bias"] = size[:1]
    return shapes


def _check(tensors: weights.Weights, shape: models.Architecture) -> None:
    types = "embeddings.token_type_embeddings.weight"
    if types not in tensors:
        raise _misfit(tensors, f"it has no tensor {types}")
    for name, expected in _shapes(shape).items():
        if name not in tensors:
            raise _misfit(tensors, f"it has no tensor {name}")
        found = tensors[name].shape
        if found != expected:
            raise _misfit(tensors, f"tensor {name} has shape {found}, config.json says {expected}")


def _misfit(tensors: weights.Weights, why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE,
        f"{tensors.path} does not hold the BERT encoder that config.json describes: {why}. "
        "Put the weights and the config.json of one model together, or provide model.onnx for another architecture.",
    )
