"""`openvino://`: the model in OpenVINO, bf16 where the CPU multiplies it natively, else fp32.

Documents and queries have an infer request each on one compiled model, so the weights are in memory once. The CPU runs
one request at a time with all threads: a query waits for at most one document batch, which the batcher keeps short.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
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
    """Reads model.safetensors of the BERT family itself, and model.onnx or openvino_model.xml of any other."""

    def __init__(self, artefact: Path, spec: models.ModelSpec, *, threads: int) -> None:
        core = ov.Core()
        tensors = weights.Weights(artefact) if artefact.suffix == ".safetensors" else None
        try:
            if tensors is not None and spec.architecture is not None:
                network = openvino_graph.model(tensors, spec.architecture)
            else:
                network = core.read_model(artefact)
            self._inputs = (
                set()
                if tensors is not None
                else local.known_inputs([next(iter(port.names)) for port in network.inputs])
            )
            compiled = core.compile_model(network, "CPU", _settings(core, threads))
        except (RuntimeError, ValueError) as error:
            raise _unusable(artefact, str(error)) from error
        self._output = _hidden_output(compiled, artefact, spec.dimension)
        self._requests = {kind: compiled.create_infer_request() for kind in models.Kind}
        if tensors is not None:
            tensors.release()

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> local.Output:
        request = self._requests[kind]
        try:
            request.infer(self._feed(ids, mask), share_inputs=True)
        except RuntimeError as error:
            if "alloc" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"OpenVINO: {error}") from error
        hidden: local.Output = request.get_output_tensor(self._output).data
        return hidden

    def close(self) -> None:
        self._requests.clear()

    def _feed(self, ids: NDArray[np.int32], mask: NDArray[np.float32]) -> Any:
        if self._inputs:
            return local.feed_by_name(self._inputs, ids, mask)
        fed = bert.feed(ids, mask)
        return [fed["ids"], fed["bias"], fed["positions"]]


def _settings(core: ov.Core, threads: int) -> dict[str, Any]:
    native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in native else "f32",
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
