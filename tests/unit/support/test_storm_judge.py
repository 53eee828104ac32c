"""The judge of a storm sees each way in which a search can be wrong: a silent judge would prove nothing."""

import itertools
import random

import pytest

from tests.storm import model

NAMES = ["a", "b"]


def hits(document: str, turn: int, *, mark: int | None = None, seq: int | None = None, parts: slice = slice(None)):
    words = model.text_of(turn).split()
    chunks = [words[start : start + 12] for start in range(0, len(words), 12)]
    return [
        {
            "document_id": document,
            "seq": seq or turn,
            "metadata": {"mark": mark or turn},
            "chunk": {"text": " ".join(chunk)},
        }
        for chunk in chunks[parts]
    ]


@pytest.fixture
def judge() -> model.Model:
    made = model.Model("arrival", ordered=False)
    made.documents = {"a": model.Known(turn=5, mark=5, seq=5, floor=4), "b": model.Known(turn=None, seq=7)}
    return made


def test_what_is_right_is_no_violation(judge: model.Model):
    judge.judge(judge.ask(NAMES), hits("a", 5), whole=True)
    judge.judge_end(NAMES, hits("a", 5))
    assert judge.violations == []
    assert judge.documents["a"].floor == 5


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (hits("b", 3), "after its delete"),
        (hits("c", 3), "search for others"),
        (hits("a", 5, parts=slice(1)) + hits("a", 6, parts=slice(1, None)), "mixes versions"),
        (hits("a", 5, parts=slice(1)) + hits("a", 5, mark=6, parts=slice(1, None)), "mixes versions"),
        (hits("a", 5, parts=slice(2)), "not shown whole"),
        (hits("a", 5) + hits("a", 5, parts=slice(1)), "not shown whole"),
        (hits("a", 3), "shows turn 3 after turn 4"),
    ],
    ids=["deleted", "another", "mixed", "mixed metadata", "torn", "twice", "older"],
)
def test_what_is_wrong_is_a_violation(judge: model.Model, shown, words: str):
    judge.judge(judge.ask(NAMES), shown, whole=True)
    assert any(words in violation for violation in judge.violations)


def test_a_document_that_is_being_made_again_may_be_shown(judge: model.Model):
    asked = judge.ask(NAMES)
    judge.documents["b"].unsure = True
    judge.judge(asked, hits("b", 9), whole=True)
    assert judge.violations == []


@pytest.mark.parametrize(
    "shown",
    [[], hits("a", 4), hits("a", 5, mark=4), hits("a", 5) + hits("b", 3)],
    ids=["lost", "stale", "mark", "extra"],
)
def test_another_end_than_the_one_that_was_acknowledged_is_a_violation(judge: model.Model, shown):
    judge.judge_end(NAMES, shown)
    assert judge.violations


def test_clients_send_every_kind_of_change():
    for ordered in (False, True):
        made = model.Model("c", ordered=ordered)
        author = model.Author(made, "doc", 20, random.Random(1), itertools.count(1))
        sent = []
        for _ in range(20):
            batch = author.batch(15)
            sent += batch
            for event in batch:
                known = made.documents[event["document_id"]]
                known.turn = None if event["change_type"] == "delete" else event["turn"]
        kinds = {event["change_type"] for event in sent}
        assert kinds == ({"upsert", "delete"} if ordered else {"insert", "update", "delete"})
        versions = [event["source_version"] for event in sent if ordered and event["document_id"] == "doc-1"]
        assert not ordered or versions != sorted(versions)
