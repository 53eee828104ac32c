"""A quantised model is loaded only with figures of exactly these files that pass the gate."""

import asyncio
import dataclasses
import json

import pytest

from bloomweaver.adapters.embedders import loading, precision, processors
from bloomweaver.domain import drift, errors, models, reasons
from bloomweaver.ports import embedders
from tests.support import integer_models, tiny_models

GOOD = drift.Drift(texts=1000, queries=300, cosine_mean=0.995, cosine_p1=0.985, ndcg_exact=0.4, ndcg=0.398)


@pytest.fixture
def quantised(tmp_path):
    return integer_models.write(tmp_path / "tiny-int8")


def admit(directory, figures=GOOD):
    spec, _ = loading.located(str(directory), models_dir=directory.parent)
    precision.record(directory, spec, figures)


def opened(directory, scheme="openvino", wish=""):
    url = f"{scheme}://{directory.name}{wish}"
    return asyncio.run(loading.open_embedder(url, models_dir=directory.parent, threads=1))


def refused(directory, match, **how):
    with pytest.raises(errors.ConfigurationError, match=match) as caught:
        opened(directory, **how)
    assert caught.value.reason is reasons.Reason.MODEL_NOT_USABLE


@pytest.mark.parametrize("units", [True, False])
def test_documents_are_of_integers_and_queries_exact(quantised, monkeypatch, units):
    monkeypatch.setattr(processors, "multiplies_integers", lambda: units)
    admit(quantised)
    embedder = opened(quantised)
    tiny_models.write(quantised.parent / "exact")
    exact = asyncio.run(loading.open_embedder("exact", models_dir=quantised.parent, threads=1))
    assert embedder.spec.precision is models.Precision.INT8
    assert embedder.space != exact.space
    passage = embedders.Passage("", embedder.tokenizer.encode(["the queue of changes is empty"])[0].ids)
    cosines = {}
    for kind in models.Kind:
        ours = asyncio.run(embedder.embed([passage], kind))[0]
        cosines[kind] = float(ours @ asyncio.run(exact.embed([passage], kind))[0])
    assert cosines[models.Kind.QUERY] > 0.99999
    assert 0.5 < cosines[models.Kind.DOCUMENT] < 0.99999
    asyncio.run(embedder.aclose())
    asyncio.run(exact.aclose())


def test_without_figures_it_is_refused(quantised):
    refused(quantised, "nobody has measured.*bloomweaver models verify tiny-int8")


def test_with_figures_that_do_not_pass_it_is_refused(quantised):
    admit(quantised, dataclasses.replace(GOOD, cosine_p1=0.9))
    refused(quantised, "first percentile of cosines is 0.9000")


def test_figures_of_other_files_do_not_count(quantised):
    admit(quantised)
    tokenizer = json.loads((quantised / "tokenizer.json").read_bytes())
    (quantised / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1), encoding="utf-8")
    (quantised.parent / ".digests" / next((quantised.parent / ".digests").glob("tiny-int8*")).name).unlink()
    refused(quantised, "of other files")


def test_figures_that_cannot_be_read_do_not_count(quantised):
    (quantised / precision.RECORD).write_text('{"drift": {"texts": 1}}', encoding="utf-8")
    refused(quantised, "cannot be read")


def test_a_graph_without_integers_is_refused_whatever_its_figures_say(quantised):
    integer_models.save(quantised, integer_models.graph(quantised, reach=8.0, really=False))
    admit(quantised)
    refused(quantised, "0 of its .* matrix multiplications are of integers, so it is int8 in name only")


def test_a_missing_graph_is_named(quantised):
    (quantised / precision.GRAPH).unlink()
    refused(quantised, "openvino_model.xml is missing")


def test_another_runtime_does_not_take_it(quantised):
    admit(quantised)
    refused(quantised, "onnx does not run int8", scheme="onnx")


def test_who_wishes_integers_gets_them_or_nothing(quantised):
    admit(quantised)
    asyncio.run(opened(quantised, wish="?precision=int8").aclose())
    exact = tiny_models.write(quantised.parent / "exact")
    refused(exact, "not quantised.*models build", wish="?precision=int8")


def test_the_arithmetic_of_an_exact_model_changes_no_space(tmp_path):
    directory = tiny_models.write(tmp_path / "tiny")
    before = loading.resolve("tiny", models_dir=tmp_path)
    (directory / precision.DECLARATION).write_text('{"precision": "fp32"}', encoding="utf-8")
    assert models.space_of(loading.resolve("tiny", models_dir=tmp_path)) == models.space_of(before)
    asyncio.run(opened(directory).aclose())


def test_shorter_vectors_are_those_that_the_directory_allows(tmp_path):
    directory = tiny_models.write(tmp_path / "tiny")
    (directory / precision.DECLARATION).write_text('{"dimensions": [4, 8, 16]}', encoding="utf-8")
    assert loading.resolve("tiny", models_dir=tmp_path).shorter == (8, 4)


@pytest.mark.parametrize("said", ['{"precision": "int4"}', '{"dimensions": [99]}', '{"other": 1}', "[1]", "{"])
def test_a_declaration_that_means_nothing_is_refused(tmp_path, said):
    directory = tiny_models.write(tmp_path / "tiny")
    (directory / precision.DECLARATION).write_text(said, encoding="utf-8")
    refused(directory, "bloomweaver.json|dimensions")


@pytest.mark.parametrize("url", ["openvino://tiny?precision=int4", "openvino://tiny?speed=2"])
def test_a_url_takes_no_other_precision(tmp_path, url):
    tiny_models.write(tmp_path / "tiny")
    with pytest.raises(errors.ConfigurationError, match="fp32 or int8"):
        asyncio.run(loading.open_embedder(url, models_dir=tmp_path, threads=1))


def test_a_memory_limit_below_the_model_is_said_before_it_kills(tmp_path):
    tiny_models.write(tmp_path / "tiny")
    wishes = loading.Wishes(models_dir=tmp_path, threads=1, memory_bytes=50 * 1024 * 1024)
    with pytest.raises(errors.ConfigurationError, match=r"needs about 96 MB of memory .* may have 50 MB"):
        asyncio.run(loading.open_with("tiny", wishes))
