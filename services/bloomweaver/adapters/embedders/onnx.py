"""`onnx://`: the model in ONNX Runtime, fp32. The fallback for machines without an OpenVINO wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bloomweaver.adapters.embedders import bert, local, onnx_graph, weights
from bloomweaver.domain import errors, models, reasons

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state
except ImportError as error:
    raise ImportError("onnx:// needs the extra: pip install 'bloomweaver[onnx]'") from error

_ERRORS_ONLY = 3
_FAILURES = (
    RuntimeError,
    ValueError,
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)


class OnnxRunner:
    """Reads model.safetensors of the BERT family itself, and model.onnx of any other."""

    def __init__(self, artefact: Path, spec: models.ModelSpec, *, threads: int) -> None:
        self._threads = threads
        self._shape = spec.architecture
        options = self._options()
        try:
            if artefact.suffix == ".safetensors" and spec.architecture is not None:
                self._session = _from_weights(artefact, spec.architecture, options)
                self._names: set[str] = set()
            else:
                self._session = onnxruntime.InferenceSession(str(artefact), options, ["CPUExecutionProvider"])
                self._names = local.known_inputs([port.name for port in self._session.get_inputs()])
        except _FAILURES as error:
            raise _unusable(artefact, str(error)) from error
        self._output = self._hidden_output(artefact, spec.dimension)

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> local.Output:
        del kind  # one session runs both lanes at once
        try:
            hidden: local.Output = self._session.run([self._output], self._feed(ids, mask))[0]
        except _FAILURES as error:
            if "alloc" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"ONNX Runtime: {error}") from error
        return hidden

    def peak(self) -> float | None:
        hidden, wide = (self._shape.hidden, self._shape.intermediate) if self._shape else (384, 1536)
        graph, matrix = onnx_graph.multiplication(local.PEAK_ROWS, hidden, wide)
        options = self._options()
        options.add_external_initializers(["matrix"], [onnxruntime.OrtValue.ortvalue_from_numpy(matrix)])
        session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        rows = np.ones((local.PEAK_ROWS, hidden), np.float32)
        return local.fastest(lambda: session.run(None, {"x": rows}), 2.0 * local.PEAK_ROWS * hidden * wide)

    def close(self) -> None:
        del self._session

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Idle threads sleep: other services share these cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _feed(self, ids: NDArray[np.int32], mask: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return local.feed_by_name(self._names, ids, mask) if self._names else dict(bert.feed(ids, mask))

    def _hidden_output(self, artefact: Path, dimension: int) -> str:
        for port in self._session.get_outputs():
            # A size that the export left open is a name or None.
            if len(port.shape) == 3 and (port.shape[2] == dimension or not isinstance(port.shape[2], int)):
                return str(port.name)
        raise _unusable(artefact, f"it has no output (batch, length, {dimension})")


def _from_weights(
    artefact: Path, shape: models.Architecture, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    tensors = weights.Weights(artefact)
    model, arrays = onnx_graph.model(tensors, shape)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    options.add_external_initializers(list(arrays), values)
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    tensors.release()
    return session


def _unusable(artefact: Path, why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE,
        f"ONNX Runtime cannot use {artefact}: {why.strip()}. Export the encoder with its last hidden state as output.",
    )
