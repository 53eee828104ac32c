"""The BERT encoder as an ONNX model of a few kilobytes, written in the wire format directly.

The weights are named, not contained: the session gets them from the mapped file as external initializers. Writing the
dozen message fields used here (onnx.proto, field numbers beside each) replaces the `onnx` package, its 30 MB and its
import time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bloomweaver.adapters.embedders import bert, weights
from bloomweaver.domain import models

_FLOAT, _INT32, _INT64 = 1, 6, 7
_IR_VERSION = 9
_OPSET = 17
_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def model(tensors: weights.Weights, shape: models.Architecture) -> tuple[bytes, dict[str, weights.Array]]:
    """The serialised model, and the arrays that its initializers name."""
    ops = _Ops(shape.hidden)
    output = bert.build(ops, tensors, shape)
    graph = b"".join(
        [
            *(_field(1, node) for node in ops.nodes),
            _field(2, b"bert"),
            *(_field(5, tensor) for tensor in ops.small),
            *(_field(5, _external(name, array)) for name, array in ops.large.items()),
            _field(11, _value(ops.ids, _INT32, ("batch", "length"))),
            _field(11, _value(ops.bias, _FLOAT, ("batch", 1, 1, "length"))),
            _field(11, _value(ops.positions, _INT32, ("length",))),
            _field(12, _value(output, _FLOAT, ("batch", "length", shape.hidden))),
        ]
    )
    opset = _field(8, _field(1, b"") + _number(2, _OPSET))
    return _number(1, _IR_VERSION) + opset + _field(7, graph), ops.large


def multiplication(rows: int, inner: int, columns: int) -> tuple[bytes, weights.Array]:
    """One matrix multiplication of `x` with the initializer `matrix`, to measure a machine with."""
    ops, matrix = _Ops(columns), np.full((inner, columns), 0.5, np.float32)
    product = ops.multiply("product", "x", "matrix")
    graph = b"".join(
        [
            *(_field(1, node) for node in ops.nodes),
            _field(2, b"multiplication"),
            _field(5, _external("matrix", matrix)),
            _field(11, _value("x", _FLOAT, (rows, inner))),
            _field(12, _value(product, _FLOAT, (rows, columns))),
        ]
    )
    opset = _field(8, _field(1, b"") + _number(2, _OPSET))
    return _number(1, _IR_VERSION) + opset + _field(7, graph), matrix


class _Ops:
    """Nodes are the names of their outputs."""

    def __init__(self, hidden: int) -> None:
        self.ids, self.bias, self.positions = "ids", "bias", "positions"
        self.nodes: list[bytes] = []
        self.small: list[bytes] = []
        self.large: dict[str, weights.Array] = {}
        self._hidden = hidden

    def lookup(self, name: str, table: weights.Array, indices: str) -> str:
        return self._node("Gather", name, [self._large(f"{name}.table", table), indices])

    def linear(self, name: str, x: str, weight: weights.Array, bias: weights.Array) -> str:
        # MatMul's packed kernel wants (in, out); the copy lives only until the session has packed it.
        turned = self._large(f"{name}.weight", np.ascontiguousarray(weight.T))
        product = self.multiply(f"{name}.product", x, turned)
        return self._node("Add", name, [product, self._large(f"{name}.bias", bias)])

    def multiply(self, name: str, a: str, b: str) -> str:
        return self._node("MatMul", name, [a, b])

    def layer_norm(self, name: str, x: str, weight: weights.Array, bias: weights.Array, epsilon: float) -> str:
        inputs = [x, self._large(f"{name}.weight", weight), self._large(f"{name}.bias", bias)]
        return self._node("LayerNormalization", name, inputs, [_integer("axis", -1), _float("epsilon", epsilon)])

    def attention(self, name: str, query: str, key: str, value: str, heads: int) -> str:
        size = self._hidden // heads
        apart = self._integers(f"{name}.apart", [0, 0, heads, size])
        split = {}
        for part, x, order in (("q", query, (0, 2, 1, 3)), ("k", key, (0, 2, 3, 1)), ("v", value, (0, 2, 1, 3))):
            reshaped = self._node("Reshape", f"{name}.{part}.apart", [x, apart])
            split[part] = self._node("Transpose", f"{name}.{part}.forth", [reshaped], [_permutation(order)])
        scale = self._scalar(f"{name}.scale", 1 / math.sqrt(size))
        scores = self._node("MatMul", f"{name}.scores", [split["q"], split["k"]])
        scaled = self._node("Mul", f"{name}.scaled", [scores, scale])
        masked = self._node("Add", f"{name}.masked", [scaled, self.bias])
        shares = self._node("Softmax", f"{name}.shares", [masked], [_integer("axis", -1)])
        mixed = self._node("MatMul", f"{name}.mixed", [shares, split["v"]])
        back = self._node("Transpose", f"{name}.back", [mixed], [_permutation((0, 2, 1, 3))])
        merged = self._integers(f"{name}.merged", [0, 0, self._hidden])
        return self._node("Reshape", f"{name}.attention", [back, merged])

    def gelu(self, name: str, x: str) -> str:
        # Opset 17 has no Gelu; the runtime recognises and fuses this form.
        root = self._scalar(f"{name}.root", math.sqrt(2))
        one, half = self._scalar(f"{name}.one", 1.0), self._scalar(f"{name}.half", 0.5)
        erf = self._node("Erf", f"{name}.erf", [self._node("Div", f"{name}.div", [x, root])])
        product = self._node("Mul", f"{name}.mul", [x, self._node("Add", f"{name}.add", [erf, one])])
        return self._node("Mul", name, [product, half])

    def add(self, name: str, a: str, b: str) -> str:
        return self._node("Add", name, [a, b])

    def _node(self, kind: str, name: str, inputs: Iterable[str], attributes: Iterable[bytes] = ()) -> str:
        parts = [_field(1, text.encode()) for text in inputs] + [_field(2, name.encode()), _field(3, name.encode())]
        self.nodes.append(b"".join([*parts, _field(4, kind.encode()), *(_field(5, each) for each in attributes)]))
        return name

    def _large(self, name: str, array: weights.Array) -> str:
        self.large[name] = array
        return name

    def _scalar(self, name: str, value: float) -> str:
        self.small.append(_number(2, _FLOAT) + _field(8, name.encode()) + _field(9, struct.pack("<f", value)))
        return name

    def _integers(self, name: str, values: list[int]) -> str:
        raw = np.array(values, "<i8").tobytes()
        self.small.append(_number(1, len(values)) + _number(2, _INT64) + _field(8, name.encode()) + _field(9, raw))
        return name


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _integer(name: str, value: int) -> bytes:
    return _field(1, name.encode()) + _number(3, value) + _number(20, 2)


def _float(name: str, value: float) -> bytes:
    return _field(1, name.encode()) + _varint(2 << 3 | _FIXED32) + struct.pack("<f", value) + _number(20, 1)


def _permutation(order: Iterable[int]) -> bytes:
    return _field(1, b"perm") + b"".join(_number(8, axis) for axis in order) + _number(20, 7)


def _external(name: str, array: NDArray[np.float32]) -> bytes:
    dimensions = b"".join(_number(1, size) for size in array.shape)
    # The location is never opened: the session is given the array under this name.
    location = _field(13, _field(1, b"location") + _field(2, b"weights"))
    return dimensions + _number(2, _FLOAT) + _field(8, name.encode()) + location + _number(14, 1)


def _value(name: str, kind: int, sizes: Iterable[int | str]) -> bytes:
    dims = b"".join(
        _field(1, _field(2, size.encode()) if isinstance(size, str) else _number(1, size)) for size in sizes
    )
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, kind) + _field(2, dims)))
