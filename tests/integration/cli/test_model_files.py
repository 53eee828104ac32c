"""`bloomweaver models bench`, `build` and `verify`, over a model of a few kilobytes."""

import asyncio
import json
from importlib import util

import pytest

from bloomweaver.adapters.embedders import loading
from bloomweaver.cli import main
from bloomweaver.domain import errors
from tests.support import integer_models, tiny_models


@pytest.fixture
def place(tmp_path):
    """A data folder with models, and texts with more headings than the gate asks for."""
    (tmp_path / "texts").mkdir()
    for number in range(12):
        parts = [
            f"## The queue number {number} of {part}\n\n" + f"The word {number} is {part} of changes, is it full? " * 4
            for part in range(10)
        ]
        (tmp_path / "texts" / f"{number}.md").write_text("\n\n".join(parts), encoding="utf-8")
    tiny_models.write(tmp_path / "data" / "models" / "tiny")
    return tmp_path


def run(place, capsys, *arguments):
    code = main.run(["models", *arguments, "--texts", str(place / "texts"), "--data", str(place / "data"), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_bench_tells_what_a_model_reaches_beside_another_runtime(place, capsys):
    code, told = run(
        place, capsys, "bench", "openvino://tiny", "--also", "onnx://tiny", "--rounds", "1", "--most", "40"
    )
    assert code == 0
    assert [row["name"] for row in told["variants"]] == ["openvino://tiny", "onnx://tiny"]
    for row in told["variants"]:
        assert row["tokens_per_second"] > 0
        assert 0 < row["fill"] <= 1
        assert row["of_peak"] > 0
        assert 0 < row["query_p50_ms"] <= row["query_p95_ms"]
    assert told["variants"][0]["ratio"] == 1.0


def test_bench_against_what_is_not_installed_says_what_to_do(place, capsys):
    if util.find_spec("fastembed") is not None:
        pytest.skip("not run: fastembed is installed here")
    code, told = run(place, capsys, "bench", "tiny", "--against", "fastembed", "--rounds", "1")
    assert code != 0
    assert "pip install fastembed" in json.dumps(told)


def test_a_library_that_nobody_knows_is_refused_with_those_that_are_known(place, capsys):
    code, told = run(place, capsys, "bench", "tiny", "--against", "word2vec", "--rounds", "1")
    assert code != 0
    assert "sentence-transformers" in json.dumps(told)


def test_a_good_int8_model_is_admitted_and_loads(place, capsys):
    integer_models.write(place / "data" / "models" / "good")
    with pytest.raises(errors.ConfigurationError, match="nobody has measured"):
        opened(place, "good")
    code, told = run(place, capsys, "verify", "good")
    assert (code, told["admitted"], told["faults"]) == (0, True, [])
    assert told["cosine_p1"] >= 0.98
    opened(place, "good")


def test_a_bad_int8_model_is_measured_refused_and_does_not_load(place, capsys):
    integer_models.write(place / "data" / "models" / "coarse", reach=200.0)
    code, told = run(place, capsys, "verify", "coarse")
    assert (code, told["admitted"]) == (1, False)
    assert "first percentile" in told["faults"][0]
    with pytest.raises(errors.ConfigurationError, match="first percentile"):
        opened(place, "coarse")


def test_an_exact_model_has_nothing_to_verify(place, capsys):
    code, told = run(place, capsys, "verify", "tiny")
    assert code != 0
    assert "nothing to verify" in json.dumps(told)


def test_texts_have_to_come_from_somewhere(place, capsys):
    assert main.run(["models", "verify", "tiny", "--data", str(place / "data"), "--json"]) == 2
    assert "--texts DIR or --collection NAME" in capsys.readouterr().out


def test_build_without_its_tool_says_what_to_install(place, capsys):
    if util.find_spec("nncf") is not None:
        pytest.skip("not run: nncf is installed here, and the ring of torch builds a model with it")
    code, told = run(place, capsys, "build", "tiny")
    assert code != 0
    assert "bloomweaver[build]" in json.dumps(told)


def opened(place, name):
    embedder = asyncio.run(loading.open_embedder(name, models_dir=place / "data" / "models", threads=1))
    asyncio.run(embedder.aclose())
