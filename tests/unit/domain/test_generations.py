"""What a move of a generation makes of it: builds, promotions, roll-backs, ends, each from what it may begin with."""

from bloomweaver.domain import generations
from bloomweaver.domain.documents import Generation
from bloomweaver.domain.identity import CollectionUid
from tests.support import builders

A, B, C = (builders.pipeline(f"pipe-{letter}") for letter in "abc")
ALONE = Generation(CollectionUid("uid"), 7, A)


def test_another_pipeline_is_built_beside_the_active_one():
    assert generations.beside(ALONE, B) == Generation(CollectionUid("uid"), 7, A, B)


def test_a_second_build_supersedes_the_first_and_none_ends_it():
    building = generations.beside(ALONE, B)
    assert generations.beside(building, C).building == C
    assert generations.beside(building, None) == ALONE


def test_building_the_active_pipeline_means_none():
    building = generations.beside(ALONE, B)
    assert generations.beside(building, A) == ALONE
    assert generations.beside(ALONE, A) is ALONE


def test_what_is_built_already_is_the_same_generation():
    building = generations.beside(ALONE, B)
    assert generations.beside(building, B) is building


def test_what_is_still_kept_current_is_built_on_and_no_longer_soaks():
    promoted = generations.promoted(generations.beside(ALONE, B), until=99.0)
    assert promoted is not None
    assert generations.beside(promoted, A) == Generation(CollectionUid("uid"), 7, B, A)
    assert generations.beside(promoted, C).previous == A


def test_a_promotion_keeps_the_one_before_until_its_time():
    assert generations.promoted(ALONE, until=99.0) is None
    wanted = Generation(CollectionUid("uid"), 7, B, None, A, 99.0)
    assert generations.promoted(generations.beside(ALONE, B), until=99.0) == wanted


def test_a_roll_back_keeps_what_is_being_built():
    promoted = generations.promoted(generations.beside(ALONE, B), until=99.0)
    assert promoted is not None
    assert generations.rolled_back(generations.beside(promoted, C)) == Generation(CollectionUid("uid"), 7, A, C)
    assert generations.rolled_back(ALONE) is None


def test_the_end_of_a_soak_gives_the_previous_one_up():
    promoted = generations.promoted(generations.beside(ALONE, B), until=99.0)
    assert promoted is not None
    assert generations.soaked(promoted) == Generation(CollectionUid("uid"), 7, B)
    assert generations.soaked(ALONE) is None
