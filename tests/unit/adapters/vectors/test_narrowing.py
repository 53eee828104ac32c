from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bloomweaver.adapters.vectors import narrowing, pinecone
from bloomweaver.domain import filters, metadata
from bloomweaver.domain.documents import Metadata
from bloomweaver.ports import vectors
from bloomweaver.testing.pinecone_wire import conditions

SCALARS = st.one_of(st.sampled_from(["x", "y", ""]), st.integers(-2, 2), st.sampled_from([0.5, 1.0]), st.booleans())
FIELDS = st.sampled_from(["a", "b", "c"])
EQUALS = st.sampled_from(["$eq", "$ne"])
LISTS = st.sampled_from(["$in", "$nin"])
ORDERS = st.sampled_from(["$gt", "$gte", "$lt", "$lte"])
CONDITIONS = st.one_of(
    st.builds(lambda f, o, v: filters.Condition(f, o, (v,)), FIELDS, EQUALS, SCALARS),
    st.builds(lambda f, o, v: filters.Condition(f, o, tuple(v)), FIELDS, LISTS, st.lists(SCALARS, max_size=3)),
    st.builds(lambda f, o, v: filters.Condition(f, o, (v,)), FIELDS, ORDERS, st.integers(-2, 2)),
    st.builds(lambda f, v: filters.Condition(f, "$exists", (v,)), FIELDS, st.booleans()),
)
TREES: st.SearchStrategy[filters.Filter] = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(filters.Not, inner),
        st.builds(lambda parts: filters.All(tuple(parts)), st.lists(inner, max_size=3)),
        st.builds(lambda parts: filters.AnyOf(tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)
VALUES = st.one_of(SCALARS, st.lists(st.sampled_from(["x", "y"]), max_size=2).map(tuple))
DOCUMENTS = st.dictionaries(FIELDS, VALUES, max_size=3)


def as_json(fields: Metadata) -> dict[str, Any]:
    """The metadata as it lies in a store."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


@given(TREES, DOCUMENTS)
def test_the_filter_that_pinecone_gets_never_rejects_what_ours_accepts(tree, fields: dict[str, metadata.Value]):
    wider = narrowing.widened(tree)
    if wider == narrowing.NOTHING:
        assert not filters.matches(tree, fields)
    elif wider != filters.EVERYTHING:
        rendered = pinecone.rendered(wider)
        conditions.check(rendered)
        assert conditions.holds(rendered, as_json(fields)) or not filters.matches(tree, fields)


@given(CONDITIONS, DOCUMENTS)
def test_one_condition_means_the_same_there(condition, fields: dict[str, metadata.Value]):
    wider = narrowing.widened(condition)
    if wider not in (narrowing.NOTHING, filters.EVERYTHING):
        assert conditions.holds(pinecone.rendered(wider), as_json(fields)) == filters.matches(condition, fields)


def candidate(number: int) -> narrowing.Candidate:
    return narrowing.Candidate(vectors.Match(f"doc-{number}", 1, 0, 1 - number / 100), {"n": number})


async def asked(count: int, *, k: int, where: object, limit: int = 100) -> tuple[list[int], vectors.Matches]:
    """How often the store was asked for how many of its `count` candidates, and the answer."""
    sizes: list[int] = []

    async def ask(wanted: int) -> narrowing.Page:
        sizes.append(wanted)
        return narrowing.Page([candidate(n) for n in range(min(wanted, count))], wanted < count, 7)

    found = await narrowing.query(ask, k=k, where=filters.parse(where), limit=limit)
    return sizes, found


async def test_a_store_is_asked_for_more_until_enough_pass():
    sizes, found = await asked(50, k=4, where={"n": {"$gte": 10}})
    assert sizes == [4, 8, 16]
    assert [match.document_id for match in found.matches] == ["doc-10", "doc-11", "doc-12", "doc-13"]
    assert (found.position, found.more) == (7, True)


async def test_a_store_that_has_no_more_is_not_asked_again():
    sizes, found = await asked(5, k=4, where={"n": {"$gte": 4}})
    assert sizes == [4, 8]
    assert (len(found.matches), found.more) == (1, False)


async def test_a_store_is_asked_up_to_its_limit():
    sizes, found = await asked(500, k=10, where={"n": -1}, limit=40)
    assert sizes == [10, 20, 40]
    assert (found.matches, found.more) == ((), True)


async def test_what_passes_beyond_k_is_told():
    _, found = await asked(5, k=2, where={"n": {"$gte": 1}})
    assert (len(found.matches), found.more) == (2, True)
