"""`sentence-transformers://`: the model on torch, for GPUs.

Heavy: importing it costs seconds and hundreds of megabytes, so it lives in an extra and in images of its own. On CUDA
it computes in bf16 (fp16 where the GPU has no bf16). It pools on the device, so that a vector per text crosses the bus
and not one per token; normalising happens on this side, in fp32, as in every runtime.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloomweaver.adapters.embedders import local, model_files
from bloomweaver.domain import errors, models, reasons

try:
    import sentence_transformers
    import torch
except ImportError as error:
    raise ImportError(
        "sentence-transformers:// needs the extra: pip install 'bloomweaver[sentence-transformers]'"
    ) from error


class TorchRunner:
    """One model for both lanes: the device takes their batches in turn."""

    def __init__(self, directory: Path, *, threads: int) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        if self._device == "cpu":
            torch.set_num_threads(threads)
        try:
            model = sentence_transformers.SentenceTransformer(
                str(directory), device=self._device, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise model_files.unusable(directory, str(error), "Fetch the model again") from error
        if self._device == "cuda":
            model.to(torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
        self._model = model.eval()

    def run(self, ids: NDArray[np.int32], mask: NDArray[np.float32], kind: models.Kind) -> local.Output:
        del kind  # one model runs both lanes
        features = {"input_ids": self._moved(ids), "attention_mask": self._moved(mask)}
        try:
            with torch.inference_mode():
                pooled = self._model(features)["sentence_embedding"].float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            raise errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, f"torch: {error}") from error
        vectors: local.Output = pooled
        return vectors

    def peak(self) -> float | None:
        size = local.PEAK_ROWS
        square = torch.ones((size, size), dtype=next(self._model.parameters()).dtype, device=self._device)

        def multiply() -> None:
            torch.matmul(square, square)
            if self._device == "cuda":
                torch.cuda.synchronize()

        return local.fastest(multiply, 2.0 * size**3)

    def close(self) -> None:
        del self._model

    def _moved(self, array: NDArray[np.int32] | NDArray[np.float32]) -> torch.Tensor:
        tensor = torch.from_numpy(array.astype(np.int64))
        if self._device == "cpu":
            return tensor
        # From pinned memory the copy runs beside the computation before it.
        return tensor.pin_memory().to(self._device, non_blocking=True)
