import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloomweaver.domain import filters, metadata
from bloomweaver.domain.reasons import Reason

DOCUMENT: dict[str, metadata.Value] = {
    "team": "hr",
    "year": 2026,
    "ratio": 0.5,
    "open": True,
    "tags": ("a", "b"),
    "none": (),
}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, True),
        ({"team": "hr"}, True),
        ({"team": "HR"}, False),
        ({"team": {"$eq": "hr"}}, True),
        ({"team": {"$ne": "hr"}}, False),
        ({"team": {"$ne": "it"}}, True),
        ({"team": {"$in": ["it", "hr"]}}, True),
        ({"team": {"$in": []}}, False),
        ({"team": {"$nin": ["it", "hr"]}}, False),
        ({"team": {"$nin": []}}, True),
        ({"year": {"$gt": 2025}}, True),
        ({"year": {"$gt": 2026}}, False),
        ({"year": {"$gte": 2026}}, True),
        ({"year": {"$lt": 2026.5}}, True),
        ({"year": {"$lte": 2025}}, False),
        ({"year": {"$gte": 2025, "$lt": 2027}}, True),
        ({"year": {"$gte": 2025, "$lt": 2026}}, False),
        ({"year": 2026.0}, True),
        ({"ratio": {"$lt": 1}}, True),
        # Types never coerce.
        ({"open": True}, True),
        ({"open": 1}, False),
        ({"open": {"$ne": 1}}, True),
        ({"open": {"$in": [1, 1.0]}}, False),
        ({"open": {"$gt": 0}}, False),
        ({"year": "2026"}, False),
        ({"team": {"$gt": 1}}, False),
        ({"tags": {"$gt": 1}}, False),
        # Lists: any element.
        ({"tags": "a"}, True),
        ({"tags": "c"}, False),
        ({"tags": {"$in": ["c", "b"]}}, True),
        ({"tags": {"$ne": "a"}}, False),
        ({"tags": {"$ne": "c"}}, True),
        ({"tags": {"$nin": ["b", "c"]}}, False),
        ({"none": "a"}, False),
        ({"none": {"$ne": "a"}}, True),
        ({"none": {"$exists": True}}, True),
        # A field that is missing.
        ({"missing": "x"}, False),
        ({"missing": {"$in": ["x"]}}, False),
        ({"missing": {"$gt": 0}}, False),
        ({"missing": {"$lte": 0}}, False),
        ({"missing": {"$ne": "x"}}, True),
        ({"missing": {"$nin": ["x"]}}, True),
        ({"missing": {"$exists": False}}, True),
        ({"missing": {"$exists": True}}, False),
        ({"team": {"$exists": False}}, False),
        ({"$not": {"missing": "x"}}, True),
        ({"$not": {"missing": {"$ne": "x"}}}, False),
        # Logic.
        ({"team": "hr", "year": 2026}, True),
        ({"team": "hr", "year": 1999}, False),
        ({"$or": [{"team": "it"}, {"year": 2026}]}, True),
        ({"$or": [{"team": "it"}, {"year": 1999}]}, False),
        ({"$and": [{"team": "hr"}, {"$not": {"tags": "c"}}]}, True),
        ({"$and": [{"team": "hr"}], "open": False}, False),
        ({"$not": {"$or": [{"team": "it"}, {"year": 1999}]}}, True),
    ],
)
def test_a_filter_means_what_the_contract_says(where, expected):
    tree = filters.parse(where)
    assert filters.matches(tree, DOCUMENT) is expected
    assert filters.matches(filters.from_json(filters.to_json(tree)), DOCUMENT) is expected


@pytest.mark.parametrize(
    ("where", "pointer"),
    [
        (None, ""),
        ([], ""),
        ("team", ""),
        ({"team": None}, "/team"),
        ({"team": ["hr"]}, "/team"),
        ({"team": {}}, "/team"),
        ({"team": {"$like": "h"}}, "/team/$like"),
        ({"team": {"eq": "h"}}, "/team/eq"),
        ({"team": {"$eq": None}}, "/team/$eq"),
        ({"team": {"$eq": ["a"]}}, "/team/$eq"),
        ({"team": {"$eq": {"a": 1}}}, "/team/$eq"),
        ({"team": {"$in": "hr"}}, "/team/$in"),
        ({"team": {"$in": [["hr"]]}}, "/team/$in/0"),
        ({"team": {"$in": ["hr", None]}}, "/team/$in/1"),
        ({"team": {"$in": ["x"] * 1001}}, "/team/$in"),
        ({"team": {"$exists": 1}}, "/team/$exists"),
        ({"team": {"$exists": "true"}}, "/team/$exists"),
        ({"year": {"$gt": "2025"}}, "/year/$gt"),
        ({"year": {"$gt": True}}, "/year/$gt"),
        ({"year": {"$gt": [1]}}, "/year/$gt"),
        ({"year": 2**53 + 1}, "/year"),
        ({"year": float("nan")}, "/year"),
        ({"team": "a\x00b"}, "/team"),
        ({"$and": []}, "/$and"),
        ({"$or": {}}, "/$or"),
        ({"$or": [{}]}, "/$or/0"),
        ({"$or": [1]}, "/$or/0"),
        ({"$not": {}}, "/$not"),
        ({"$not": [{"a": 1}]}, "/$not"),
        ({"$nor": [{"a": 1}]}, "/$nor"),
        ({"$where": "1"}, "/$where"),
        ({"": 1}, "/"),
        ({"1a": 1}, "/1a"),
        ({"a/b": 1}, "/a~1b"),
        ({"a" * 65: 1}, "/" + "a" * 65),
        ({"a\n": 1}, "/a\n"),
        ({f"f{i}": 1 for i in range(101)}, ""),
        ({"$and": [{"a": 1}] * 101}, "/$and"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_pointer(where, pointer):
    with pytest.raises(filters.FilterError) as caught:
        filters.parse(where)
    assert caught.value.reason is Reason.INVALID_FILTER
    assert caught.value.pointers[0][0] == pointer


def nested(levels):
    return {"a": 1} if levels == 1 else {"$not": nested(levels - 1)}


def test_eight_levels_are_allowed_and_nine_are_not():
    filters.parse(nested(8))
    with pytest.raises(filters.FilterError):
        filters.parse(nested(9))


def test_a_hostile_depth_ends_in_a_refusal():
    with pytest.raises(filters.FilterError):
        filters.parse(nested(500))


def test_a_hundred_conditions_are_allowed():
    tree = filters.parse({"$or": [{"a": {"$gt": i, "$lt": i + 1}} for i in range(50)]})
    assert filters.matches(tree, {"a": 3.5})


def test_both_filters_hold_when_joined():
    tree = filters.and_(filters.parse({"team": "hr"}), filters.parse({"year": 2026}))
    assert filters.matches(tree, DOCUMENT)
    assert not filters.matches(tree, {"team": "hr"})
    assert filters.and_(None, tree) is tree
    assert filters.and_(tree, None) is tree
    assert filters.and_(filters.EVERYTHING, tree) is tree
    assert filters.and_(None, None) is None


def test_no_filter_matches_everything():
    assert filters.matches(None, {})


SCALARS = st.one_of(st.text(max_size=3).filter(lambda text: "\x00" not in text), st.integers(-5, 5), st.booleans())
FIELDS = st.sampled_from(["a", "b", "c"])
CONDITIONS = st.one_of(
    st.tuples(FIELDS, SCALARS).map(lambda pair: {pair[0]: pair[1]}),
    st.tuples(FIELDS, st.sampled_from(["$eq", "$ne"]), SCALARS).map(lambda part: {part[0]: {part[1]: part[2]}}),
    st.tuples(FIELDS, st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)).map(
        lambda part: {part[0]: {part[1]: part[2]}}
    ),
    st.tuples(FIELDS, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-5, 5)).map(
        lambda part: {part[0]: {part[1]: part[2]}}
    ),
    st.tuples(FIELDS, st.booleans()).map(lambda pair: {pair[0]: {"$exists": pair[1]}}),
)
WHERES = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        inner.map(lambda where: {"$not": where}),
        st.tuples(inner, inner).map(lambda pair: {**pair[0], **pair[1]}),
    ),
    max_leaves=6,
)
METADATA = st.dictionaries(FIELDS, st.one_of(SCALARS, st.lists(st.text(max_size=2), max_size=2).map(tuple)))


@settings(max_examples=40)
@given(WHERES, METADATA)
def test_a_stored_filter_reads_back_as_the_same_filter(where, document):
    try:
        tree = filters.parse(where)
    except filters.FilterError:
        return
    again = filters.from_json(filters.to_json(tree))
    assert again == tree
    assert filters.to_json(again) == filters.to_json(tree)
    assert filters.matches(again, document) == filters.matches(tree, document)
    assert filters.matches(filters.Not(tree), document) != filters.matches(tree, document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$and", "$or", "$not", "$eq", "$in", "$exists", "a", ""]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_filter_or_a_filter_error(value):
    try:
        tree = filters.parse(value)
    except filters.FilterError:
        return
    json.loads(filters.to_json(tree))
    filters.matches(tree, DOCUMENT)
