"""A model directory of the form that `bloomweaver models build` makes, without the tool that makes real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13

from bloomweaver.adapters.embedders import model_files, openvino_graph, precision, weights
from tests.support import tiny_models

LEVELS = 256


def write(directory: Path, *, reach: float = 8.0, really: bool = True) -> Path:
    """A tiny model whose documents are computed in eight bits, activations up to `reach`; or in name only."""
    tiny_models.write(directory)
    (directory / precision.DECLARATION).write_text('{"precision": "int8"}', encoding="utf-8")
    (directory / precision.GRAPH).parent.mkdir()
    save(directory, graph(directory, reach=reach, really=really))
    return directory


def graph(directory: Path, *, reach: float, really: bool) -> Any:
    """The tiny network with both sides of every multiplication in eight bits."""
    shape = model_files.architecture_of(directory)
    made = openvino_graph.model(weights.Weights(directory / "model.safetensors"), shape)
    for node in made.get_ordered_ops():
        # The products of attention stay as they are: they are a minority, and a random network bears little.
        if really and node.get_type_name() == "MatMul" and _constant(node.input_value(1)):
            for port in node.inputs():
                source = port.get_source_output()
                most = np.float32(np.abs(source.get_node().data).max() if _constant(source) else reach)
                low, high = opset13.constant(-most), opset13.constant(most)
                port.replace_source_output(opset13.fake_quantize(source, low, high, low, high, LEVELS).output(0))
    return made


def _constant(value: Any) -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


def save(directory: Path, made: Any) -> None:
    """Into its place in the directory."""
    ov.save_model(made, str(directory / precision.GRAPH), compress_to_fp16=False)
