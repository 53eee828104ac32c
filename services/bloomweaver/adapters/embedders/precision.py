"""The arithmetic that a model directory asks for, and the proof that it may be used.

`bloomweaver.json` says `{"precision": "bf16" | "fp32" | "int8", "dimensions": [256, 128]}`, both optional. A directory
of `int8` has a quantised graph for documents beside the exact weights, which queries are computed with. Invariant: such
a graph is loaded only with a record of figures that pass the gate (`domain.drift`), measured of exactly these files.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bloomweaver.domain import drift, errors, models, reasons

DECLARATION = "bloomweaver.json"
GRAPH = "int8/openvino_model.xml"
RECORD = "int8/verified.json"
EXACT = ("bf16", "fp32")
INT8 = "int8"


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """precision: None where the runtime is to choose. shorter: dimensions that vectors may be cut to."""

    precision: str | None = None
    shorter: tuple[int, ...] = ()


def declared(directory: Path, config: Mapping[str, Any], *, dimension: int) -> Declared:
    """What the directory says of itself; `matryoshka_dimensions` of config.json counts as well."""
    path = directory / DECLARATION
    try:
        said: Any = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise _unusable(directory, f"{DECLARATION} is not JSON", "Correct it, or remove it") from error
    if not isinstance(said, dict) or set(said) - {"precision", "dimensions"}:
        raise _unusable(directory, f"{DECLARATION} has other fields than precision and dimensions", "Remove them")
    arithmetic = said.get("precision")
    if arithmetic not in (None, INT8, *EXACT):
        raise _unusable(directory, f"{DECLARATION} has precision {arithmetic!r}", "It is bf16, fp32 or int8")
    shorter = said.get("dimensions", config.get("matryoshka_dimensions")) or []
    if not isinstance(shorter, list) or not all(isinstance(n, int) and 0 < n <= dimension for n in shorter):
        raise _unusable(directory, f"its dimensions are {shorter!r}", f"They are whole numbers from 1 to {dimension}")
    return Declared(arithmetic, tuple(sorted({n for n in shorter if n < dimension}, reverse=True)))


def graph_files(directory: Path) -> list[Path]:
    """The quantised graph and its weights; ConfigurationError if one is missing."""
    graph = directory / GRAPH
    for path in (graph, graph.with_suffix(".bin")):
        if not path.is_file():
            raise _unusable(directory, f"{path.relative_to(directory)} is missing", "Build the model again")
    return [graph, graph.with_suffix(".bin")]


def require_proven(directory: Path, spec: models.ModelSpec) -> None:
    """Refuses a quantised model that was not measured, was measured with other files, or did not pass."""
    if spec.precision is not models.Precision.INT8:
        return
    advice = f"Measure it: bloomweaver models verify {directory.name} --texts DIR"
    record = directory / RECORD
    if not record.is_file():
        raise _unusable(directory, "nobody has measured what its integers cost in quality", advice)
    try:
        said = json.loads(record.read_bytes())
        found = drift.Drift(**said["drift"])
        files = {str(file): str(digest) for file, digest in said["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(directory, f"{RECORD} cannot be read", advice) from error
    if files != dict(spec.digests):
        raise _unusable(directory, f"{RECORD} is of other files than those that are here", advice)
    if faults := found.faults():
        raise _unusable(directory, "; ".join(faults), "Build it again from more texts, or use the exact model")


def record(directory: Path, spec: models.ModelSpec, found: drift.Drift) -> Path:
    """Keep what was measured beside the graph, whether it passes or not."""
    path = directory / RECORD
    said = {"drift": dataclasses.asdict(found), "ranking_loss": found.ranking_loss, "files": dict(spec.digests)}
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def _unusable(directory: Path, why: str, advice: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        reasons.Reason.MODEL_NOT_USABLE, f"the model in {directory} cannot be used: {why}. {advice}."
    )
