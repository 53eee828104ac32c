"""The encoder graph in each runtime against the same network in plain numpy."""

import asyncio
import json
from array import array

import numpy as np
import pytest
import structlog.testing

from bloomweaver.adapters.embedders import loading, local, onnx_graph, openvino, rows, tokenization
from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders
from tests.support import tiny_models

TEXTS = ("the queue of changes is empty", "q", "this passage is full of the word, is it?")


@pytest.fixture(params=["openvino", "onnx"])
def opened(request, tmp_path):
    def opening(**settings):
        tiny_models.write(tmp_path / "tiny", **settings)
        return asyncio.run(loading.open_embedder(f"{request.param}://tiny", models_dir=tmp_path, threads=1))

    return opening


def embedded(embedder, texts, kind=models.Kind.DOCUMENT):
    passages = [embedders.Passage(text, embedder.tokenizer.encode([text])[0].ids) for text in texts]
    return asyncio.run(closing(embedder, embedder.embed(passages, kind)))


async def closing(embedder, call):
    try:
        return await call
    finally:
        await embedder.aclose()


def expected(embedder, texts, *, pooling, prefix=""):
    rows = []
    for text in texts:
        prefix_ids, ids = (list(embedder.tokenizer.encode([part])[0].ids) for part in (prefix, text))
        hidden = tiny_models.hidden_states([2, *prefix_ids, *ids, 3])
        pooled = hidden[0] if pooling == "cls" else hidden.mean(axis=0)
        rows.append(pooled / np.linalg.norm(pooled))
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_equal_those_of_plain_numpy(opened, pooling):
    embedder = opened(pooling=pooling)
    found = embedded(embedder, TEXTS)
    np.testing.assert_allclose(found, expected(embedder, TEXTS, pooling=pooling), atol=2e-5)


def test_the_prefix_of_a_query_stands_between_cls_and_the_text(opened):
    embedder = opened(prompts={"query": "find this: "})
    found = embedded(embedder, TEXTS, models.Kind.QUERY)
    np.testing.assert_allclose(found, expected(embedder, TEXTS, pooling="mean", prefix="find this: "), atol=2e-5)


def test_both_runtimes_stand_in_one_space(tmp_path):
    tiny_models.write(tmp_path / "tiny")
    spec = loading.resolve("tiny", models_dir=tmp_path)
    assert models.space_of(spec) == models.space_of(loading.resolve(str(tmp_path / "tiny"), models_dir=tmp_path))


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_weights_of_another_network_are_refused(tmp_path, runtime):
    tiny_models.write(tmp_path / "other")
    tensors = {name: tensor for name, tensor in tiny_models.weights().items() if "layer.1" not in name}
    (tmp_path / "other" / "model.safetensors").write_bytes(tiny_models.safetensors(tensors))
    with pytest.raises(errors.ConfigurationError, match=r"encoder\.layer\.1\.attention\.self\.query\.weight"):
        asyncio.run(loading.open_embedder(f"{runtime}://other", models_dir=tmp_path, threads=1))


def test_a_row_without_a_finite_norm_is_nan_throughout_and_alone():
    pooled = np.array([[3, 4], [np.nan, 1], [np.inf, 1], [0, 0]], np.float32)
    found = rows.finished(pooled, normalize=True)
    np.testing.assert_allclose(found[0], [0.6, 0.8])
    assert np.isnan(found[1:]).all()


class Recording:
    """A runtime that remembers the shapes it was given."""

    def __init__(self):
        self.shapes = []

    def run(self, ids, mask, kind):
        self.shapes.append(ids.shape)
        return np.ones((*ids.shape, tiny_models.HIDDEN), np.float32)

    def peak(self) -> float | None:
        return None

    def close(self) -> None:
        pass


def recorded(place, passages, kind):
    """The vectors, and the shapes that the runtime computed."""
    tiny_models.write(place / "tiny")
    spec = loading.resolve("tiny", models_dir=place)
    tokenizer = tokenization.FileTokenizer(place / "tiny" / "tokenizer.json")
    runtime = Recording()
    embedder = local.LocalEmbedder(spec, tokenizer, runtime)
    return asyncio.run(closing(embedder, embedder.embed(passages, kind))), runtime.shapes


def test_a_long_call_reaches_the_runtime_in_parts_of_bounded_size(tmp_path):
    passages = [embedders.Passage("", array("I", [5] * 94))] * 400
    vectors, shapes = recorded(tmp_path, passages, models.Kind.DOCUMENT)
    assert vectors.shape == (400, tiny_models.HIDDEN)
    assert max(rows * length for rows, length in shapes) <= 16_384
    assert len(shapes) == 3


def test_a_query_is_hardly_padded(tmp_path):
    passages = [embedders.Passage("", array("I", [5] * 7))]
    assert recorded(tmp_path / "documents", passages, models.Kind.DOCUMENT)[1] == [(1, 16)]
    assert recorded(tmp_path / "queries", passages, models.Kind.QUERY)[1] == [(1, 12)]


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tiny_models.write(tmp_path / "tiny")
    config = tiny_models.config() | {"vocab_size": 50}
    tensors = tiny_models.weights()
    tensors["embeddings.word_embeddings.weight"] = tensors["embeddings.word_embeddings.weight"][:50]
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    (tmp_path / "tiny" / "model.safetensors").write_bytes(tiny_models.safetensors(tensors))
    with pytest.raises(errors.ConfigurationError, match="tokenizer does not fit") as caught:
        asyncio.run(loading.open_embedder("onnx://tiny", models_dir=tmp_path, threads=1))
    assert caught.value.reason is reasons.Reason.MODEL_NOT_USABLE


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_another_family_runs_from_its_onnx_export(tmp_path, runtime):
    directory = exported(tmp_path, width=tiny_models.HIDDEN)
    embedder = asyncio.run(loading.open_embedder(f"{runtime}://other", models_dir=tmp_path, threads=1))
    ids = list(embedder.tokenizer.encode(["the queue"])[0].ids)
    found = embedded(embedder, ["the queue"])
    mean = tiny_models.weights()["embeddings.word_embeddings.weight"][[2, *ids, 3]].mean(axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert [file for file, _ in embedder.spec.digests] == ["model.onnx", "tokenizer.json"]
    assert directory.is_dir()


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_an_export_with_another_output_is_refused(tmp_path, runtime):
    exported(tmp_path, width=tiny_models.HIDDEN // 2)
    with pytest.raises(errors.ConfigurationError, match=r"no output \(batch, length, 16\)"):
        asyncio.run(loading.open_embedder(f"{runtime}://other", models_dir=tmp_path, threads=1))


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_an_export_that_wants_more_than_text_is_refused(tmp_path, runtime):
    exported(tmp_path, width=tiny_models.HIDDEN, ids="pixel_values")
    with pytest.raises(errors.ConfigurationError, match="pixel_values"):
        asyncio.run(loading.open_embedder(f"{runtime}://other", models_dir=tmp_path, threads=1))


def exported(models_dir, *, width, ids="input_ids"):
    """A directory of another family whose encoder is one look-up, as an ONNX file."""
    directory = tiny_models.write(models_dir / "other")
    (directory / "config.json").write_text(json.dumps(tiny_models.config() | {"model_type": "roberta"}))
    table = np.ascontiguousarray(tiny_models.weights()["embeddings.word_embeddings.weight"][:, :width])
    field, number = onnx_graph._field, onnx_graph._number
    initializer = (
        number(1, len(table)) + number(1, width) + number(2, 1) + field(8, b"table") + field(9, table.tobytes())
    )
    node = field(1, b"table") + field(1, ids.encode()) + field(2, b"last_hidden_state") + field(4, b"Gather")
    inputs = [onnx_graph._value(name, 7, ("batch", "length")) for name in (ids, "attention_mask")]
    graph = field(1, node) + field(2, b"other") + field(5, initializer)
    graph += b"".join(field(11, each) for each in inputs)
    graph += field(12, onnx_graph._value("last_hidden_state", 1, ("batch", "length", width)))
    (directory / "model.onnx").write_bytes(number(1, 9) + field(8, field(1, b"") + number(2, 17)) + field(7, graph))
    return directory


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_a_runtime_tells_how_fast_the_machine_multiplies(tmp_path, runtime):
    tiny_models.write(tmp_path / "tiny")
    embedder = asyncio.run(loading.open_embedder(f"{runtime}://tiny", models_dir=tmp_path, threads=1))
    assert isinstance(embedder, embedders.SelfMeasuring)
    assert (asyncio.run(embedder.peak_operations_per_second()) or 0) > 1e6
    asyncio.run(embedder.aclose())


@pytest.mark.parametrize(
    ("native", "asked", "computed", "said"),
    [
        (["FP32", "BF16"], None, "bf16", 0),
        (["FP32", "BF16"], "fp32", "f32", 0),
        (["FP32", "INT8"], None, "f32", 1),
        (["FP32", "INT8"], "bf16", "f32", 1),
    ],
)
def test_a_processor_without_bf16_computes_in_fp32_and_says_so_once(native, asked, computed, said):
    class Core:
        def get_property(self, device, name):
            return native

    with structlog.testing.capture_logs() as lines:
        settings = openvino._settings(Core(), 2, asked)
    assert settings["INFERENCE_PRECISION_HINT"] == computed
    assert settings["INFERENCE_NUM_THREADS"] == 2
    assert [line["event"] for line in lines] == ["computes_in_fp32"] * said


def parted(runner):
    assert runner._parting is not None
    runner._parting.join()


def test_queries_get_a_network_of_their_own_once_one_had_to_wait(tmp_path, monkeypatch):
    tiny_models.write(tmp_path / "tiny")
    spec, place = loading.located("tiny", models_dir=tmp_path)
    runner = openvino.OpenVinoRunner(place / "model.safetensors", spec, threads=1)
    ids, mask = np.array([[2, 7, 8, 3]], np.int32), np.ones((1, 4), np.float32)
    lanes = runner._lanes
    before = runner.run(ids, mask, models.Kind.QUERY).copy()
    assert lanes[models.Kind.QUERY].network is lanes[models.Kind.DOCUMENT].network  # nobody waited
    monkeypatch.setattr(lanes[models.Kind.DOCUMENT], "computing", True)
    np.testing.assert_allclose(runner.run(ids, mask, models.Kind.QUERY), before)
    parted(runner)
    assert lanes[models.Kind.QUERY].network is not lanes[models.Kind.DOCUMENT].network
    for kind in models.Kind:
        np.testing.assert_allclose(runner.run(ids, mask, kind), before, rtol=1e-6)
    runner.close()


def test_queries_go_on_waiting_where_there_is_no_room_for_a_second_network(tmp_path, monkeypatch):
    tiny_models.write(tmp_path / "tiny")
    spec, place = loading.located("tiny", models_dir=tmp_path)
    runner = openvino.OpenVinoRunner(place / "model.safetensors", spec, threads=1)

    def without_room():
        raise openvino._unusable(place, "alloc")

    monkeypatch.setattr(runner, "_compiled_exact", without_room)
    monkeypatch.setattr(runner._lanes[models.Kind.DOCUMENT], "computing", True)
    ids, mask = np.array([[2, 7, 3]], np.int32), np.ones((1, 3), np.float32)
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            assert runner.run(ids, mask, models.Kind.QUERY).shape[:2] == (1, 3)
            parted(runner)
    assert [line["event"] for line in lines] == ["queries_wait_for_documents"]
    runner.close()
