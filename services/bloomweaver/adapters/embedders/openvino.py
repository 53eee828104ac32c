"""`openvino://`: the model in OpenVINO, bf16 where the CPU multiplies it natively, else fp32.

Documents and queries have an infer request each on one compiled model, so the weights are in memory once. The CPU runs
one request at a time with all threads: a query waits for at most one document batch, which the batcher keeps short.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from bloomweaver.adapters.embedders import bert, local, weights
from bloomweaver.domain import errors, models, reasons

# The package imports its model converter when it can, and with it a telemetry client: half of its import time, for
# something never used here. None marks a module as not installed.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # typeshed does not know the marker

try:
    import openvino as ov

    from bloomweaver.adapters.embedders import openvino_graph
except ImportError as error:
    raise ImportError("openvino:// needs the extra: pip install 'bloomweaver[openvino]'") from error


class OpenVinoRunner:
    """Reads model.safetensors of the BERT family itself, and model.onnx or openvino_model.xml of any other.

    quantised: a graph in integers, for documents alone: queries stay exact, which gives back nearly all that integers
    lose in ranking. arithmetic: `bf16` or `fp32`; None for the quicker one that the processor has.
    """

    def __init__(
        self,
        artefact: Path,
        spec: models.ModelSpec,
        *,
        threads: int,
        arithmetic: str | None = None,
        quantised: Path | None = None,
    ) -> None:
        self._core = ov.Core()
        self._shape = spec.architecture
        self._settings = _settings(self._core, threads, arithmetic)
        exact = _Network(self._core, artefact, spec, self._settings)
        self._integers = quantised is not None
        documents = exact if quantised is None else _Network(self._core, quantised, spec, self._settings, integers=True)
        networks = {models.Kind.DOCUMENT: documents, models.Kind.QUERY: exact}
        self._lanes = {kind: (network, network.compiled.create_infer_request()) for kind, network in networks.items()}

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> local.Output:
        network, request = self._lanes[kind]
        try:
            request.infer(network.feed(ids, mask), share_inputs=True)
        except RuntimeError as error:
            if "alloc" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"OpenVINO: {error}") from error
        hidden: local.Output = request.get_output_tensor(network.output).data
        return hidden

    def peak(self) -> float | None:
        hidden, wide = (self._shape.hidden, self._shape.intermediate) if self._shape else (384, 1536)
        graph = openvino_graph.multiplication(local.PEAK_ROWS, hidden, wide, integers=self._integers)
        request = self._core.compile_model(graph, "CPU", self._settings).create_infer_request()
        rows = np.ones((local.PEAK_ROWS, hidden), np.float32)
        return local.fastest(lambda: request.infer([rows], share_inputs=True), 2.0 * local.PEAK_ROWS * hidden * wide)

    def close(self) -> None:
        self._lanes.clear()


class _Network:
    """One graph, compiled, and how it is fed."""

    def __init__(
        self,
        core: ov.Core,
        artefact: Path,
        spec: models.ModelSpec,
        settings: dict[str, Any],
        *,
        integers: bool = False,
    ) -> None:
        tensors = weights.Weights(artefact) if artefact.suffix == ".safetensors" else None
        try:
            if tensors is not None and spec.architecture is not None:
                graph = openvino_graph.model(tensors, spec.architecture)
            else:
                graph = core.read_model(artefact)
            if integers:
                openvino_graph.require_integers(graph, artefact)
            names = {next(iter(port.names), "") for port in graph.inputs}
            # None: the graph is our own, or was made from it.
            self._names = None if tensors is not None or names == bert.INPUTS else local.known_inputs(sorted(names))
            self.compiled = core.compile_model(graph, "CPU", settings)
        except (RuntimeError, ValueError) as error:
            raise _unusable(artefact, str(error)) from error
        self.output = _hidden_output(self.compiled, artefact, spec.dimension)
        if tensors is not None:
            tensors.release()

    def feed(self, ids: NDArray[np.int32], mask: NDArray[np.float32]) -> Any:
        """The inputs, padded."""
        if self._names is not None:
            return local.feed_by_name(self._names, ids, mask)
        return bert.feed(ids, mask)


def _settings(core: ov.Core, threads: int, arithmetic: str | None) -> dict[str, Any]:
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not native and arithmetic != "fp32":
        structlog.get_logger("models").info("computes_in_fp32", why="this processor does not multiply bf16 natively")
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if native and arithmetic != "fp32" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads of two processes on one node would fight over the same cores.
        "ENABLE_CPU_PINNING": False,
    }


def _hidden_output(compiled: ov.CompiledModel, artefact: Path, dimension: int) -> int:
    for index, port in enumerate(compiled.outputs):
        shape = port.get_partial_shape()
        if shape.rank.is_static and shape.rank.get_length() == 3 and not _differs(shape[2], dimension):
            return index
    raise _unusable(artefact, f"it has no output (batch, length, {dimension})")


def _differs(size: ov.Dimension, dimension: int) -> bool:
    return bool(size.is_static) and size.get_length() != dimension


def _unusable(artefact: Path, why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE,
        f"OpenVINO cannot use {artefact}: {why.strip()}. Export the encoder with its last hidden state as output.",
    )
