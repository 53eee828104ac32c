"""Rankings and cosines by hand, and the gate that they have to pass."""

import dataclasses
import math
from array import array

import numpy as np
import pytest

from bloomweaver.adapters.embedders import memory
from bloomweaver.domain import drift
from bloomweaver.ports import embedders
from bloomweaver.workbench import quality, samples

GOOD = drift.Drift(texts=1000, queries=300, cosine_mean=0.995, cosine_p1=0.985, ndcg_exact=0.4, ndcg=0.398)


def question(*answers):
    return samples.Question("q", frozenset(answers))


def test_the_right_text_on_top_is_worth_everything_and_the_second_place_less():
    documents = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0.5, 0], [1, 0.5, 0]], np.float32)
    found = quality.ndcg(queries, documents, [question(0), question(1)])
    assert found.tolist() == pytest.approx([1.0, 1 / math.log2(3)])


def test_several_answers_share_the_ideal():
    documents = np.eye(12, dtype=np.float32)
    queries = np.array([np.arange(12, 0, -1)], np.float32)
    assert quality.ndcg(queries, documents, [question(0, 1)])[0] == pytest.approx(1.0)
    assert quality.ndcg(queries, documents, [question(11)])[0] == 0.0


def test_the_drift_of_equal_vectors_is_none():
    vectors = np.eye(4, dtype=np.float32)
    found = quality.drift_of(quality.Vectors(vectors, vectors), vectors, [question(at) for at in range(4)])
    assert (found.cosine_p1, found.ndcg, found.ranking_loss) == (1.0, 1.0, 0.0)


def test_the_bound_of_a_loss_is_above_it_and_the_same_every_time():
    random = np.random.default_rng(1)
    before = random.uniform(0.2, 1, 500)
    after = before - random.normal(0.01, 0.05, 500)
    loss, bound = quality.loss_bound(before, after)
    assert 0 < loss < bound < 0.1
    assert quality.loss_bound(before, after) == (loss, bound)


def test_small_losses_are_admitted():
    assert GOOD.faults() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cosine_p1": 0.979}, "first percentile"),
        ({"cosine_p1": math.nan}, "first percentile"),
        ({"ndcg": 0.39}, "loss in ranking"),
        ({"ndcg": math.nan}, "loss in ranking"),
        ({"texts": 99}, "too few"),
        ({"queries": 5}, "too few"),
    ],
)
def test_what_does_not_pass_says_why(change, says):
    (fault,) = dataclasses.replace(GOOD, **change).faults()
    assert says in fault


def folder(tmp_path):
    (tmp_path / "a.md").write_text("# One\n\nFirst text.\n\n# Same\n\nSecond.\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# Two\n\nThird text.\n\n# Same\n\nFourth.\n", encoding="utf-8")
    (tmp_path / "c.bin").write_bytes(b"\x00")
    return tmp_path


def test_chunks_of_a_folder_know_their_headings_and_come_the_same_every_time(tmp_path):
    embedder = memory.MemoryEmbedder(memory.spec_of())
    found = samples.of_folder(folder(tmp_path), embedder, most=100)
    assert {sample.heading for sample in found} == {("One",), ("Two",)}
    assert found == samples.of_folder(tmp_path, embedder, most=100)
    assert len(samples.of_folder(tmp_path, embedder, most=2)) == 2


def test_chunks_of_a_collection_keep_their_headings():
    embedder = memory.MemoryEmbedder(memory.spec_of())
    found = samples.of_chunks([("a text", ["Title"]), ("another", [])], embedder, most=10)
    assert [sample.heading for sample in found] == [("Title",), ()]


def test_a_title_of_several_places_is_asked_for_with_the_one_above_it():
    paths = [("Backup",), ("Backup", "Options"), ("Backup", "Options"), ("Restore", "Options"), (), ("Notes", " ")]
    found = [samples.Sample(embedders.Passage("", array("I")), path) for path in paths]
    asked = samples.questions(found, most=100)
    assert {(question.text, question.answers) for question in asked} == {
        ("Backup", frozenset({0})),
        ("Backup Options", frozenset({1, 2})),
        ("Restore Options", frozenset({3})),
    }
    assert len(samples.questions(found, most=2)) == 2


def test_titles_that_nothing_tells_apart_are_not_asked_for():
    paths = [("Part 1", "Tools", "Options"), ("Part 2", "Tools", "Options")]
    found = [samples.Sample(embedders.Passage("", array("I")), path) for path in paths]
    assert samples.questions(found, most=100) == []


async def test_vectors_are_made_as_a_service_makes_them(tmp_path):
    embedder = memory.MemoryEmbedder(memory.spec_of())
    found = samples.of_folder(folder(tmp_path), embedder, most=100)
    asked = samples.questions(found, most=100)
    made = await quality.vectors_of(embedder, found, asked)
    assert made.documents.shape == (len(found), 8)
    assert made.queries.shape == (len(asked), 8)
