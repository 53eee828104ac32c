"""The BERT encoder in OpenVINO's operations; constants share the mapped weights."""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13

from bloomweaver.adapters.embedders import bert, weights
from bloomweaver.domain import models


def model(tensors: weights.Weights, shape: models.Architecture) -> ov.Model:
    """Inputs: ids (batch, length), bias (batch, 1, 1, length), positions (length). Output: the last hidden state."""
    ops = _Ops()
    return ov.Model([bert.build(ops, tensors, shape)], [ops.ids, ops.bias, ops.positions], "bert")


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
