"""Which models share a vector space, and how many tokens they leave for text."""

import dataclasses

import pytest

from bloomweaver.domain import errors, models, reasons

MINILM = models.PROVIDED["all-minilm-l6-v2"]
BGE = models.PROVIDED["bge-small-en-v1.5"]


def test_the_space_of_the_default_model_never_changes_by_accident():
    # A change here re-indexes every collection of every installation: it must be meant.
    assert models.space_of(MINILM) == "a5d0f7145ef72549"


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 128},
        {"pooling": models.Pooling.CLS},
        {"normalize": False},
        {"query_prefix": "query: "},
        {"document_prefix": "passage: "},
        {"precision": models.Precision.INT8},
        {"digests": (("model.safetensors", "00"),)},
        {"architecture": dataclasses.replace(BGE.architecture or pytest.fail("none"), heads=6)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_vector_changes_the_space(change):
    assert models.space_of(dataclasses.replace(MINILM, **change)) != models.space_of(MINILM)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"source": models.Source(models.Origin.DIRECTORY, "elsewhere")},
        {"max_tokens": 128},
        {"digests": tuple(reversed(MINILM.digests))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_change_a_vector_does_not_change_the_space(change):
    assert models.space_of(dataclasses.replace(MINILM, **change)) == models.space_of(MINILM)


def test_a_model_whose_files_are_unknown_has_no_space():
    with pytest.raises(ValueError, match="not hashed yet"):
        models.space_of(dataclasses.replace(MINILM, digests=()))


def test_the_room_is_the_limit_less_special_tokens_and_prefix():
    assert MINILM.room(models.Kind.DOCUMENT) == 254
    assert BGE.room(models.Kind.DOCUMENT) == 510
    assert BGE.room(models.Kind.QUERY) == 502


def test_only_queries_of_bge_have_a_prefix():
    assert BGE.prefix(models.Kind.QUERY) == "Represent this sentence for searching relevant passages: "
    assert BGE.prefix(models.Kind.DOCUMENT) == ""


def test_every_provided_model_is_pinned_and_known_under_its_own_name():
    for name, spec in models.PROVIDED.items():
        assert spec.name == name
        assert {file for file, _ in spec.digests} == {"model.safetensors", "tokenizer.json"}
    assert models.DEFAULT in models.PROVIDED


def test_the_model_that_vectors_were_stored_under_is_accepted():
    models.require_stored(MINILM, space=models.space_of(MINILM), dimension=384)


def test_stored_vectors_of_another_dimension_are_a_configuration_error():
    with pytest.raises(errors.ConfigurationError, match=r"vectors of 384, .* have 768") as caught:
        models.require_stored(MINILM, space=models.space_of(MINILM), dimension=768)
    assert caught.value.reason is reasons.Reason.DIMENSION_MISMATCH


def test_stored_vectors_of_another_space_are_a_configuration_error():
    with pytest.raises(errors.ConfigurationError, match="re-index") as caught:
        models.require_stored(MINILM, space=models.space_of(BGE), dimension=384)
    assert caught.value.reason is reasons.Reason.MODEL_HASH_MISMATCH
