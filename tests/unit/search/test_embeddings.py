"""OpenAI's forms of input, read by hand."""

import pytest

from bloomweaver.domain import errors
from bloomweaver.search import embeddings


@pytest.mark.parametrize(
    ("value", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_every_form_is_several_texts_or_several_lists_of_ids(value, inputs):
    assert embeddings.inputs_of(value) == inputs


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (None, "/input"), ({}, "/input"), ([], "/input"), ("", "/input"), ([True], "/input"), ([1, "a"], "/input"),
        (["a", None], "/input/1"), ([[1], "a"], "/input/1"), ([[]], "/input/0"), ([[2**32]], "/input/0"),
        ([None], "/input/0"), (["a\x00"], "/input/0"),
    ],
)  # fmt: skip
def test_what_is_none_of_them_is_refused_with_the_place(value, pointer):
    with pytest.raises(errors.Refusal) as caught:
        embeddings.inputs_of(value)
    assert caught.value.pointers[0][0] == pointer
