"""Reading safetensors, and refusing what is not whole."""

import numpy as np
import pytest

from bloomweaver.adapters.embedders import weights
from bloomweaver.domain import errors, reasons
from tests.support import tiny_models


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.safetensors"


def test_tensors_are_read_as_they_were_written(file):
    tensors = {"one": np.arange(6, dtype=np.float32).reshape(2, 3), "two": np.ones(4, np.float32)}
    file.write_bytes(tiny_models.safetensors(tensors))
    found = weights.Weights(file)
    assert set(found) == {"one", "two"}
    np.testing.assert_array_equal(found["one"], tensors["one"])


def test_half_precision_is_widened(file):
    file.write_bytes(tiny_models.safetensors({"one": np.array([1.5, -2], np.float16)}, "F16"))
    np.testing.assert_array_equal(weights.Weights(file)["one"], np.array([1.5, -2], np.float32))


def test_brain_floats_are_widened(file):
    upper = (np.array([1.5, -2], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    file.write_bytes(tiny_models.safetensors({"one": upper}, "BF16"))
    np.testing.assert_array_equal(weights.Weights(file)["one"], np.array([1.5, -2], np.float32))


def test_the_prefix_of_a_larger_model_is_dropped(file):
    file.write_bytes(tiny_models.safetensors({"bert.one": np.ones(1, np.float32)}))
    assert list(weights.Weights(file)) == ["one"]


def test_released_pages_come_back_when_read(file):
    file.write_bytes(tiny_models.safetensors({"one": np.arange(4096, dtype=np.float32)}))
    tensors = weights.Weights(file)
    tensors.release()
    assert tensors["one"][4095] == 4095


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:20],
        lambda raw: b"",
        lambda raw: b"not a model at all, but long enough",
        lambda raw: raw[:8] + b"[" + raw[9:],
    ],
    ids=["truncated", "cut in the header", "empty", "another format", "damaged header"],
)
def test_a_damaged_file_is_named(file, spoil):
    file.write_bytes(spoil(tiny_models.safetensors({"one": np.ones(9, np.float32)})))
    with pytest.raises(errors.ConfigurationError, match=r"model\.safetensors") as caught:
        weights.Weights(file)["one"]
    assert caught.value.reason is reasons.Reason.MODEL_NOT_USABLE


def test_a_missing_file_is_named(file):
    with pytest.raises(errors.ConfigurationError, match=r"model\.safetensors"):
        weights.Weights(file)
