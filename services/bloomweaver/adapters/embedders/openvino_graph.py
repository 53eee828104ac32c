"""The BERT encoder in OpenVINO's operations; constants share the mapped weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13

from bloomweaver.adapters.embedders import bert, model_files, weights
from bloomweaver.domain import models

_LEVELS = 256
_PASSING = frozenset({"Multiply", "Subtract", "Convert", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})


def model(tensors: weights.Weights, shape: models.Architecture) -> ov.Model:
    """Inputs: ids (batch, length), bias (batch, 1, 1, length), positions (length). Output: the last hidden state."""
    ops = _Ops()
    graph = ov.Model([bert.build(ops, tensors, shape)], [ops.ids, ops.bias, ops.positions], "bert")
    for port in graph.inputs:
        port.get_tensor().set_names({port.get_node().get_friendly_name()})
    return graph


def multiplication(rows: int, inner: int, columns: int, *, integers: bool) -> ov.Model:
    """One matrix multiplication and nothing else, to measure a machine with."""
    x = opset13.parameter([rows, inner], np.float32, name="x")
    matrix = opset13.constant(np.full((columns, inner), 0.5, np.float32))
    left, right = (_eight_bits(x), _eight_bits(matrix)) if integers else (x, matrix)
    return ov.Model([opset13.matmul(left, right, transpose_a=False, transpose_b=True)], [x], "multiplication")


def integer_multiplications(graph: ov.Model) -> tuple[int, int]:
    """How many of a graph's matrix multiplications have integers on both sides, and how many it has."""
    found = [node for node in graph.get_ordered_ops() if node.get_type_name() == "MatMul"]
    return sum(_in_integers(node.input_value(0)) and _in_integers(node.input_value(1)) for node in found), len(found)


def require_integers(graph: ov.Model, place: Path) -> None:
    """Refuses a graph of which less than half the multiplications are of integers: it would be slower than fp32."""
    integers, every = integer_multiplications(graph)
    if 2 * integers < every or not every:
        raise model_files.unusable(
            place,
            f"{integers} of its {every} matrix multiplications are of integers, so it is int8 in name only",
            "Build it again with `bloomweaver models build`",
        )


def _in_integers(value: ov.Output) -> bool:
    """Whether a value is of at most eight bits, but for its scale and shape."""
    node = value.get_node()
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return int(node.get_attributes()["levels"]) <= _LEVELS
    if kind == "Constant":
        return str(node.get_element_type().get_type_name()) in {"i8", "u8"}
    return kind in _PASSING and _in_integers(node.input_value(0))


def _eight_bits(x: ov.Node) -> ov.Node:
    low, high = opset13.constant(np.float32(-1)), opset13.constant(np.float32(1))
    return opset13.fake_quantize(x, low, high, low, high, _LEVELS)


def _integers(*values: int) -> ov.Node:
    return opset13.constant(np.array(values, np.int64))


class _Ops:
    def __init__(self) -> None:
        self.ids: ov.Node = opset13.parameter([-1, -1], np.int32, name="ids")
        self.bias: ov.Node = opset13.parameter([-1, 1, 1, -1], np.float32, name="bias")
        self.positions: ov.Node = opset13.parameter([-1], np.int32, name="positions")

    def lookup(self, name: str, table: weights.Array, indices: ov.Node) -> ov.Node:
        return opset13.gather(self._constant(table), indices, opset13.constant(np.int32(0)), name=name)

    def linear(self, name: str, x: ov.Node, weight: weights.Array, bias: weights.Array) -> ov.Node:
        product = opset13.matmul(x, self._constant(weight), transpose_a=False, transpose_b=True)
        return opset13.add(product, self._constant(bias), name=name)

    def layer_norm(self, name: str, x: ov.Node, weight: weights.Array, bias: weights.Array, epsilon: float) -> ov.Node:
        centred = opset13.mvn(x, _integers(-1), normalize_variance=True, eps=epsilon, eps_mode="inside_sqrt")
        return opset13.add(opset13.multiply(centred, self._constant(weight)), self._constant(bias), name=name)

    def attention(self, name: str, query: ov.Node, key: ov.Node, value: ov.Node, heads: int) -> ov.Node:
        hidden = query.output(0).get_partial_shape()[2].get_length()
        apart, forth, merged = _integers(0, 0, heads, hidden // heads), _integers(0, 2, 1, 3), _integers(0, 0, hidden)

        def split(x: ov.Node) -> ov.Node:
            return opset13.transpose(opset13.reshape(x, apart, special_zero=True), forth)

        scale = opset13.constant(np.float32(1 / math.sqrt(hidden // heads)))
        scores = opset13.matmul(split(query), split(key), transpose_a=False, transpose_b=True)
        shares = opset13.softmax(opset13.add(opset13.multiply(scores, scale), self.bias), axis=-1)
        mixed = opset13.transpose(opset13.matmul(shares, split(value), transpose_a=False, transpose_b=False), forth)
        return opset13.reshape(mixed, merged, special_zero=True, name=f"{name}.attention")

    def gelu(self, name: str, x: ov.Node) -> ov.Node:
        return opset13.gelu(x, approximation_mode="erf", name=name)

    def add(self, name: str, a: ov.Node, b: ov.Node) -> ov.Node:
        return opset13.add(a, b, name=name)

    @staticmethod
    def _constant(array: weights.Array) -> ov.Node:
        return ov.op.Constant(array, shared_memory=True)
