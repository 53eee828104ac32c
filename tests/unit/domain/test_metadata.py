import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.domain import metadata
from bloomweaver.domain.reasons import Reason


def test_flat_metadata_is_kept_as_sent():
    sent = {"team": "hr", "year": 2026, "ratio": 0.5, "open": True, "tags": ["a", "ü"], "a.b-c_d": ""}
    assert metadata.check(sent) == {**sent, "tags": ("a", "ü")}


def test_stored_metadata_reads_back_equal():
    checked = metadata.check({"b": ["x"], "a": 1, "c": "ü"})
    assert metadata.from_json(metadata.canonical_json(checked)) == checked


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (None, ""),
        ([], ""),
        ("x", ""),
        ({"a": None}, "/a"),
        ({"a": {}}, "/a"),
        ({"a": {"b": 1}}, "/a"),
        ({"a": [1]}, "/a/0"),
        ({"a": ["x", None]}, "/a/1"),
        ({"a": [["x"]]}, "/a/0"),
        ({"a": 2**53 + 1}, "/a"),
        ({"a": -(2**53) - 1}, "/a"),
        ({"a": float("nan")}, "/a"),
        ({"a": float("inf")}, "/a"),
        ({"a": "x\x00"}, "/a"),
        ({"a": ["\x00"]}, "/a/0"),
        ({"a": "\ud800"}, "/a"),
        ({"": 1}, "/"),
        ({"1": 1}, "/1"),
        ({"_a": 1}, "/_a"),
        ({"$a": 1}, "/$a"),
        ({"a b": 1}, "/a b"),
        ({"a\n": 1}, "/a\n"),
        ({"ä": 1}, "/ä"),
        ({"a/b~": 1}, "/a~1b~0"),
        ({"a" * 65: 1}, "/" + "a" * 65),
        ({f"k{i}": 1 for i in range(65)}, ""),
        ({"a": "x" * 16384}, ""),
        ({"a": "ü" * 8192}, ""),
    ],
)
def test_what_a_store_could_not_keep_is_refused_with_a_pointer(value, pointer):
    with pytest.raises(metadata.MetadataError) as caught:
        metadata.check(value)
    assert caught.value.reason is Reason.INVALID_METADATA
    assert caught.value.pointer == pointer


def test_the_limits_themselves_are_allowed():
    metadata.check({f"k{i}": 2**53 for i in range(64)})
    metadata.check({"a" * 64: "x"})
    metadata.check({"a": "x" * (16384 - len('{"a":""}'))})


def test_a_patch_replaces_adds_and_removes():
    merged = metadata.merge({"a": 1, "b": "x", "tags": ("t",)}, {"a": 2, "b": None, "c": ["y"], "absent": None})
    assert merged == {"a": 2, "tags": ("t",), "c": ("y",)}


def test_a_patch_cannot_grow_metadata_beyond_its_limits():
    with pytest.raises(metadata.MetadataError):
        metadata.merge({f"k{i}": 1 for i in range(64)}, {"another": 1})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))  # fmt: skip
def test_any_json_is_metadata_or_a_metadata_error(value):
    try:
        checked = metadata.check(value)
    except metadata.MetadataError:
        return
    assert metadata.from_json(metadata.canonical_json(checked)) == checked
