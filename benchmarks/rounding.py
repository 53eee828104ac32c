"""bf16 without a processor that has it: the encoder in fp32, every result rounded to the nearest bf16.

That is what the units for bf16 do: factors of eight significant bits, sums in fp32, the result rounded once. A value is
rounded by Veltkamp's splitting (T. J. Dekker, A floating-point technique for extending the available precision, 1971):
x * 65537 has room for eight bits of x only. Sums, norms and the softmax are exact here, their results rounded.
"""
# ruff: noqa: SLF001 - the same network, with a rounding after each of its steps

import math
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

from bloomweaver.adapters.embedders import bert, local, openvino_graph, weights
from bloomweaver.domain import models

SPLITTER = np.float32(65537)
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}


def rounded_array(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights as bf16 holds them: round half to even, by the bits."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return kept.astype(np.uint32).view(np.float32)


def rounded(x: ov.Node) -> ov.Node:
    """A value of the graph as bf16 holds it."""
    spread = opset13.multiply(x, opset13.constant(SPLITTER))
    return opset13.subtract(spread, opset13.subtract(spread, x))


class Ops(openvino_graph._Ops):
    """The network's operations."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[NDArray[np.float32]] = []

    def _brief(self, array: weights.Array) -> weights.Array:
        self._kept.append(rounded_array(array))  # the graph's constants share the memory
        return self._kept[-1]

    def lookup(self, name: str, table: weights.Array, indices: ov.Node) -> ov.Node:
        return super().lookup(name, self._brief(table), indices)

    def linear(self, name: str, x: ov.Node, weight: weights.Array, bias: weights.Array) -> ov.Node:
        return rounded(super().linear(name, x, self._brief(weight), self._brief(bias)))

    def layer_norm(self, name: str, x: ov.Node, weight: weights.Array, bias: weights.Array, epsilon: float) -> ov.Node:
        return rounded(super().layer_norm(name, x, self._brief(weight), self._brief(bias), epsilon))

    def gelu(self, name: str, x: ov.Node) -> ov.Node:
        return rounded(super().gelu(name, x))

    def add(self, name: str, a: ov.Node, b: ov.Node) -> ov.Node:
        return rounded(super().add(name, a, b))

    def attention(self, name: str, query: Any, key: Any, value: Any, heads: int) -> ov.Node:
        hidden = query.output(0).get_partial_shape()[2].get_length()
        whole = openvino_graph._integers
        apart, forth, merged = whole(0, 0, heads, hidden // heads), whole(0, 2, 1, 3), whole(0, 0, hidden)

        def split(x: ov.Node) -> ov.Node:
            return opset13.transpose(opset13.reshape(x, apart, special_zero=True), forth)

        scale = opset13.constant(np.float32(1 / math.sqrt(hidden // heads)))
        scores = rounded(opset13.matmul(split(query), split(key), transpose_a=False, transpose_b=True))
        scores = rounded(opset13.multiply(scores, scale))
        shares = rounded(opset13.softmax(opset13.add(scores, self.bias), axis=-1))
        mixed = rounded(opset13.matmul(shares, split(value), transpose_a=False, transpose_b=False))
        return opset13.reshape(opset13.transpose(mixed, forth), merged, special_zero=True, name=f"{name}.attention")


class Runner:
    """A `local.Runner` of the default model's family."""

    def __init__(self, tensors: weights.Weights, shape: models.Architecture, *, threads: int) -> None:
        ops = Ops()
        graph = ov.Model([bert.build(ops, tensors, shape)], [ops.ids, ops.bias, ops.positions], "bf16")
        compiled = ov.Core().compile_model(graph, "CPU", {**SETTINGS, "INFERENCE_NUM_THREADS": threads})
        self._kept = ops
        self._requests = {kind: compiled.create_infer_request() for kind in models.Kind}

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> local.Output:
        """As `local.Runner`."""
        request = self._requests[kind]
        request.infer(list(bert.feed(ids, mask).values()), share_inputs=True)
        hidden: local.Output = request.get_output_tensor(0).data
        return hidden

    def peak(self) -> float | None:
        """Nobody asks how fast an imitation is."""
        return None

    def close(self) -> None:
        """Nothing to give back."""
