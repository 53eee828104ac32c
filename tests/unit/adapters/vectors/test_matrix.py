import numpy as np
import pytest

from bloomweaver.adapters.vectors import matrix as matrices
from bloomweaver.adapters.vectors import records
from bloomweaver.domain import filters
from bloomweaver.testing.contracts import vectors as contract


def stored(count: int, *, first: int = 0) -> list[matrices.Stored]:
    vectors = contract.random_records(count, seed=first)
    return [
        matrices.Stored(row, f"doc-{row}", 1, 0, f'{{"n":{row % 5}}}', record.vector.tobytes())
        for row, record in enumerate(vectors, first)
    ]


def made(*, block_rows: int = 7) -> matrices.Matrix:
    return matrices.Matrix(1, dimension=contract.DIMENSION, seen=0, block_bytes=4 * contract.DIMENSION * block_rows)


def test_scores_are_dot_products_across_blocks():
    matrix = made()
    parts = [stored(5), stored(1, first=5), stored(20, first=6), stored(2, first=26)]
    for part in parts:
        matrix.append(part)
    rows = np.array([np.frombuffer(row.embedding, "<f4") for part in parts for row in part])
    np.testing.assert_allclose(matrix.scores(contract.unit(1, 2, 3)), rows @ contract.unit(1, 2, 3), atol=1e-6)
    assert [name.document_id for name in matrix.names if name] == [f"doc-{n}" for n in range(28)]
    assert matrix.size_bytes == 28 * 4 * contract.DIMENSION


def test_a_scan_that_began_before_an_append_is_not_disturbed():
    matrix = made()
    matrix.append(stored(10))
    scores = matrix.scores(contract.unit(1))
    before = scores.copy()
    matrix.append(stored(500, first=10))
    np.testing.assert_array_equal(scores, before)
    np.testing.assert_array_equal(matrix.scores(contract.unit(1))[:10], before)


def test_removed_and_replaced_rows_are_passed_over_until_it_is_sparse():
    matrix = made(block_rows=100)
    matrix.append(stored(10))
    matrix.remove([0, 3, 99])
    matrix.append(stored(1, first=5))
    ranked = matrices.ranked(matrix.scores(contract.unit(1)), wanted=3)
    found, more = records.best(ranked, matrix.names, k=100, where=None)
    assert sorted(match.document_id for match in found) == [f"doc-{n}" for n in (1, 2, 4, 5, 6, 7, 8, 9)]
    assert not more
    assert not matrix.is_sparse


def test_a_matrix_that_lost_most_of_its_rows_is_sparse():
    matrix = made()
    matrix.append(stored(30))
    matrix.remove(range(15))
    assert not matrix.is_sparse
    matrix.remove([20])
    assert matrix.is_sparse


def test_equal_metadata_is_one_object():
    matrix = made()
    matrix.append(stored(10))
    first, sixth = matrix.names[0], matrix.names[5]
    assert first is not None
    assert sixth is not None
    assert first.metadata is sixth.metadata
    assert first.metadata == {"n": 0}


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 5000])
@pytest.mark.parametrize("wanted", [1, 50, 10_000])
def test_ranking_gives_every_place_once_by_descending_score(count, wanted):
    # Few different values: ties across the pieces must neither repeat nor drop a place.
    scores = np.random.default_rng(count).integers(0, 20, count).astype(np.float32)
    ranked = list(matrices.ranked(scores.copy(), wanted=wanted))
    assert sorted(place for place, _ in ranked) == list(range(count))
    assert [score for _, score in ranked] == sorted(scores.tolist(), reverse=True)


def test_a_selective_filter_narrows_what_is_left_to_what_can_pass():
    matrix = made()
    matrix.append(stored(20_000))
    where, asked = filters.parse({"n": 3}), []

    def narrow():
        asked.append(1)
        return matrix.passing(where, 20_000)

    lazily = records.best(matrices.ranked(matrix.scores(contract.unit(1)), wanted=5), matrix.names, k=4000, where=where)
    ranked = matrices.ranked(matrix.scores(contract.unit(1)), wanted=5, narrow=narrow)
    assert records.best(ranked, matrix.names, k=4000, where=where) == lazily
    assert (len(lazily[0]), len(asked)) == (4000, 1)


def test_a_remembered_filter_judges_what_came_later_and_knows_true_from_one():
    matrix = made()
    matrix.append(stored(10))
    one, true = filters.parse({"n": 1}), filters.parse({"n": True})
    for _ in range(2):
        assert np.flatnonzero(matrix.passing(one, 10)).tolist() == [1, 6]
        assert not matrix.passing(true, 10).any()
    matrix.append([row._replace(metadata_json='{"n":1,"late":true}') for row in stored(2, first=10)])
    assert np.flatnonzero(matrix.passing(one, 12)).tolist() == [1, 6, 10, 11]
    for n in range(100):
        matrix.passing(filters.parse({"n": n}), 12)
    assert np.flatnonzero(matrix.passing(one, 11)).tolist() == [1, 6, 10]


def test_a_filter_that_most_pass_is_looked_at_lazily():
    scores = np.arange(5000, dtype=np.float32)

    def narrow():
        raise AssertionError("not needed")

    ranked = matrices.ranked(scores, wanted=10, narrow=narrow)
    assert [place for place, _ in (next(ranked) for _ in range(500))] == list(range(4999, 4499, -1))
