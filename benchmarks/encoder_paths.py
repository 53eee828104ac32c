"""Other ways through the encoder beside the one in use: `python -m benchmarks.encoder_paths [--rounds N]`.

Streams, shapes of batches, one product for query, key and value, the runtime's own attention: each is compiled once
and takes its turn in every round. Told in tokens per second of processor time, which other work on the machine disturbs
less than wall time. docs/decisions/0016 has what came of it.
"""
# ruff: noqa: SLF001 - it looks inside the adapter to change one thing at a time

import argparse
import math
import resource
import statistics
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import shapes
from bloomweaver.adapters.embedders import bert, openvino, openvino_graph, weights
from bloomweaver.domain import models

LENGTH, TOKENS = 128, 2048
QUERY, KEY, VALUE = ".self.query", ".self.key", ".self.value"
Pass = Callable[[], None]


def attending(graph: Any) -> type:
    """The network with the runtime's attention in one operation."""

    class Attending(openvino_graph._Ops):
        def attention(self, name: str, query: Any, key: Any, value: Any, heads: int) -> Any:
            hidden = query.output(0).get_partial_shape()[2].get_length()
            integers = openvino_graph._integers
            apart, forth = integers(0, 0, heads, hidden // heads), integers(0, 2, 1, 3)

            def split(x: Any) -> Any:
                return graph.transpose(graph.reshape(x, apart, special_zero=True), forth)

            scale = graph.constant(np.float32(1 / math.sqrt(hidden // heads)))
            parts = (split(query), split(key), split(value))
            mixed = graph.scaled_dot_product_attention(*parts, self.bias, scale, False)
            return graph.reshape(graph.transpose(mixed, forth), integers(0, 0, hidden), special_zero=True)

    return Attending


def merging(graph: Any) -> type:
    """The network with one product for query, key and value."""

    class Merging(openvino_graph._Ops):
        def __init__(self) -> None:
            super().__init__()
            self.waiting: list[tuple[weights.Array, weights.Array]] = []
            self.kept: list[weights.Array] = []
            self.parts: Any = None

        def linear(self, name: str, x: Any, weight: weights.Array, bias: weights.Array) -> Any:
            if not name.endswith((QUERY, KEY, VALUE)):
                return super().linear(name, x, weight, bias)
            self.waiting.append((weight, bias))
            if name.endswith(VALUE):
                merged = [np.concatenate(each) for each in zip(*self.waiting, strict=True)]
                self.waiting.clear()
                self.kept += merged
                self.parts = graph.split(super().linear(name, x, *merged), graph.constant(np.int64(2)), 3)
            return x

        def attention(self, name: str, query: Any, key: Any, value: Any, heads: int) -> Any:
            del query, key, value
            hidden = self.parts.input_value(0).get_partial_shape()[2].get_length() // 3
            whole = openvino_graph._integers(0, 0, hidden)
            parts = [graph.reshape(self.parts.output(at), whole, special_zero=True) for at in range(3)]
            return super().attention(name, parts[0], parts[1], parts[2], heads)

    return Merging


def compiled(ops: type, *, streams: int, threads: int) -> Any:
    """The default model's network, described by these operations."""
    import openvino as ov

    shape = models.PROVIDED[models.DEFAULT].architecture
    assert shape is not None
    described, core = ops(), ov.Core()
    output = bert.build(described, weights.Weights(shapes.installed() / "model.safetensors"), shape)
    network = ov.Model([output], [described.ids, described.bias, described.positions], "bert")
    settings = {**openvino._settings(core, threads, "fp32"), "NUM_STREAMS": str(streams)}
    return core.compile_model(network, "CPU", settings)


def batches(rows: int) -> list[list[Any]]:
    """So many tokens in batches of `rows` passages."""
    random = np.random.default_rng(3)
    made = []
    for _ in range(TOKENS // (rows * LENGTH)):
        ids = random.integers(1000, 20_000, (rows, LENGTH)).astype(np.int32)
        made.append(list(bert.feed(ids, np.ones(ids.shape, np.float32)).values()))
    return made


def through(network: Any, fed: Sequence[Any], *, requests: int = 1) -> Pass:
    """All batches, on so many requests at once."""
    made = [network.create_infer_request() for _ in range(requests)]

    def work(place: int) -> None:
        for each in fed[place::requests]:
            made[place].infer(each, share_inputs=True)

    def run() -> None:
        threads = [threading.Thread(target=work, args=(place,)) for place in range(requests)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def processor_seconds() -> float:
    """Of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoder_paths", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    from openvino import opset13

    one = compiled(openvino_graph._Ops, streams=1, threads=2)
    two = compiled(openvino_graph._Ops, streams=2, threads=2)
    ways = {"one stream, 1,024 tokens": through(one, batches(8))}
    ways |= {f"one stream, {rows * LENGTH:,} tokens": through(one, batches(rows)) for rows in (2, 4, 16)}
    ways |= {f"two streams, {rows * LENGTH:,} each": through(two, batches(rows), requests=2) for rows in (4, 8)}
    ways["attention in one operation"] = through(compiled(attending(opset13), streams=1, threads=2), batches(8))
    ways["query, key, value in one product"] = through(compiled(merging(opset13), streams=1, threads=2), batches(8))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            began = processor_seconds()
            run()
            if turn:
                rates[name].append(TOKENS / (processor_seconds() - began))
    base = next(iter(rates.values()))
    for name, found in rates.items():
        ratio = statistics.median(each / first for each, first in zip(found, base, strict=True))
        print(f"{name:<34} {statistics.median(found):>8,.0f} tokens per processor second, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
