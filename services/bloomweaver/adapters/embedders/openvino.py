"""`openvino://`: the model in OpenVINO, bf16 where the CPU multiplies it natively, else fp32.

Documents and queries have an infer request each on one compiled model, so the weights are in memory once. It runs one
request at a time: a query waits for the batch of documents before it. The first one that has to gives queries a model
of their own, which the system then schedules beside the other; a process that only does one of both never pays.
"""

from __future__ import annotations

import functools
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bloomweaver import logger
from bloomweaver.adapters.embedders import bert, local, processors, weights
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
    lose in ranking. A processor without integer units computes it in fp32: the same values, nothing overflows.
    arithmetic: `bf16` or `fp32`; None for the quicker one that the processor has.
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
        self._compiled_exact = functools.partial(_Network, self._core, artefact, spec, self._settings)
        exact = self._compiled_exact()
        self._integers = quantised is not None and processors.multiplies_integers()
        documents = exact
        if quantised is not None:
            settings = self._settings if self._integers else _in_fp32(self._settings)
            documents = _Network(self._core, quantised, spec, settings, integers=True)
        self._lanes = {models.Kind.DOCUMENT: _Lane(documents), models.Kind.QUERY: _Lane(exact)}
        self._parting: threading.Thread | None = None

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> local.Output:
        if kind is models.Kind.QUERY and self._waits_for_documents():
            self._part()
        try:
            return self._lanes[kind].run(ids, mask)
        except RuntimeError as error:
            if "alloc" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"OpenVINO: {error}") from error

    def peak(self) -> float | None:
        hidden, wide = (self._shape.hidden, self._shape.intermediate) if self._shape else (384, 1536)
        graph = openvino_graph.multiplication(local.PEAK_ROWS, hidden, wide, integers=self._integers)
        request = self._core.compile_model(graph, "CPU", self._settings).create_infer_request()
        rows = np.ones((local.PEAK_ROWS, hidden), np.float32)
        return local.fastest(lambda: request.infer([rows], share_inputs=True), 2.0 * local.PEAK_ROWS * hidden * wide)

    def close(self) -> None:
        if self._parting is not None:
            self._parting.join()
        self._lanes.clear()

    def _waits_for_documents(self) -> bool:
        documents, queries = self._lanes[models.Kind.DOCUMENT], self._lanes[models.Kind.QUERY]
        return documents.network is queries.network and documents.computing

    def _part(self) -> None:
        """Compile beside the work: this query and those until then still wait."""
        if self._parting is None:
            self._parting = threading.Thread(target=self._give_queries_their_own, name="compile-queries")
            self._parting.start()

    def _give_queries_their_own(self) -> None:
        try:
            self._lanes[models.Kind.QUERY] = _Lane(self._compiled_exact())
        except errors.ConfigurationError as error:
            logger.get("models").warning("queries_wait_for_documents", why=error.detail)


class _Lane:
    """A request of one kind. computing: whether it runs now, for others to see."""

    def __init__(self, network: _Network) -> None:
        self.network = network
        self.computing = False
        self._request = network.compiled.create_infer_request()

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32]) -> local.Output:
        """The last hidden state, valid until the next call."""
        self.computing = True
        try:
            self._request.infer(self.network.feed(ids, mask), share_inputs=True)
        finally:
            self.computing = False
        hidden: local.Output = self._request.get_output_tensor(self.network.output).data
        return hidden


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


def multiplies_bf16(core: ov.Core) -> bool:
    """Whether the processor does it natively."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _settings(core: ov.Core, threads: int, arithmetic: str | None) -> dict[str, Any]:
    native = multiplies_bf16(core)
    if not native and arithmetic != "fp32":
        logger.get("models").info("computes_in_fp32", why="this processor does not multiply bf16 natively")
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if native and arithmetic != "fp32" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads of two processes on one node would fight over the same cores.
        "ENABLE_CPU_PINNING": False,
    }


def _in_fp32(settings: dict[str, Any]) -> dict[str, Any]:
    """A graph of rounded values is left as it is, instead of being rewritten for integer kernels."""
    logger.get("models").info(
        "computes_integers_in_fp32", why="this processor has no units that sum products of integers"
    )
    return {**settings, "LP_TRANSFORMS_MODE": False}


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
