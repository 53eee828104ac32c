"""Reads safetensors files without copying them: tensors are views of a private map of the file.

The runtimes pack the matrices into a layout of their own, so once a model is compiled `release` hands the mapped pages
back; what is still read (the word table) returns page by page. A model then costs its packed matrices, not its file.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloomweaver.domain import errors, reasons

Array = NDArray[np.float32]

_LENGTH_BYTES = 8
_HEADER_LIMIT_BYTES = 16 * 1024 * 1024
_STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class _Tensor:
    kind: str
    shape: tuple[int, ...]
    first: int
    last: int


class Weights(Mapping[str, Array]):
    """The float tensors of a file by name, as fp32."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise self._unusable(str(error)) from error
        self._tensors = self._read_header()

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        count = math.prod(tensor.shape)
        if tensor.last - tensor.first != count * np.dtype(_STORED[tensor.kind]).itemsize or tensor.last > len(
            self._map
        ):
            raise self._unusable(f"tensor {name} reaches beyond the end of the file: it is truncated or damaged")
        flat = np.frombuffer(self._map, dtype=_STORED[tensor.kind], count=count, offset=tensor.first)
        if tensor.kind == "BF16":
            flat = (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return flat.astype(np.float32, copy=False).reshape(tensor.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def release(self) -> None:
        """Gives the pages read so far back to the system; a later read brings them in again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _read_header(self) -> dict[str, _Tensor]:
        length = int.from_bytes(self._map[:_LENGTH_BYTES], "little")
        start = _LENGTH_BYTES + length
        if length > _HEADER_LIMIT_BYTES or start > len(self._map):
            raise self._unusable("its header is not one of a safetensors file")
        tensors: dict[str, _Tensor] = {}
        try:
            for name, entry in json.loads(self._map[_LENGTH_BYTES:start]).items():
                if name != "__metadata__" and entry["dtype"] in _STORED:
                    first, last = entry["data_offsets"]
                    # Some checkpoints hold the encoder inside a larger model.
                    tensors[name.removeprefix("bert.")] = _Tensor(
                        entry["dtype"], tuple(entry["shape"]), start + first, start + last
                    )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable("its header is not one of a safetensors file") from error
        return tensors

    def _unusable(self, why: str) -> errors.ConfigurationError:
        return errors.ConfigurationError(
            reasons.Reason.MODEL_NOT_USABLE, f"cannot read weights from {self.path}: {why}. Fetch the model again."
        )
