"""Filters as SQL mean what `filters.matches` means, and what a client writes is only ever a value."""

import json

import hypothesis
import psycopg
import pytest
from hypothesis import strategies as st

from bloomweaver.adapters.vectors import postgresql_filters
from bloomweaver.domain import filters

FIELDS = st.sampled_from(["a", "b", "a.b", "c-d"])
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.1, 1.0, 5e-324, 1.7976931348623157e308, 2.0**53]),
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["x", "ü", "true", "1", "", "'; DROP TABLE blob; --", '"', "\\", "%s", "{}", "\ud800"]),
    st.text(max_size=3).filter(lambda text: "\x00" not in text),
)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
CONDITIONS = st.one_of(
    st.builds(filters.Condition, FIELDS, st.sampled_from(["$eq", "$ne"]), st.tuples(SCALARS)),
    st.builds(filters.Condition, FIELDS, st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3).map(tuple)),
    st.builds(filters.Condition, FIELDS, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.tuples(NUMBERS)),
    st.builds(filters.Condition, FIELDS, st.just("$exists"), st.tuples(st.booleans())),
)
TREES = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(filters.All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(filters.AnyOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(filters.Not, inner),
    ),
    max_leaves=6,
)
STORED = TEXTS.filter(lambda text: "\ud800" not in text)
METADATA = st.dictionaries(
    FIELDS, st.one_of(STORED, NUMBERS, st.booleans(), st.lists(STORED, max_size=2).map(tuple)), max_size=4
)


@pytest.fixture
def connection(postgresql_url):
    with psycopg.connect(postgresql_url, autocommit=True) as opened:
        yield opened


@hypothesis.settings(
    max_examples=300, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None
)
@hypothesis.given(tree=TREES, document=METADATA)
def test_a_condition_holds_where_the_filter_matches(connection, tree, document):
    condition, values = postgresql_filters.condition(tree)
    statement = f"SELECT {condition} FROM (SELECT %(document)s::jsonb AS metadata) AS one"
    found = connection.execute(statement.encode(), {**values, "document": json.dumps(document)}).fetchone()
    assert found == (filters.matches(tree, document),)


def test_no_text_of_a_filter_is_in_the_statement():
    hostile = "'; DROP TABLE blob; --"
    tree = filters.All((filters.Condition(hostile, "$eq", (hostile,)), filters.Condition(hostile, "$gt", (1,))))
    condition, values = postgresql_filters.condition(tree)
    assert "DROP" not in condition
    assert hostile in values.values()
