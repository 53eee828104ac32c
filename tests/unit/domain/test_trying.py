from dataclasses import replace

from bloomweaver.domain import trying
from bloomweaver.domain.documents import DocumentKey, Generation, Row, Version, VersionState
from bloomweaver.domain.identity import BuildId, CollectionUid, DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import world

KEY = DocumentKey(CollectionUid("c"), DocumentId("d"))
ROW = Row(KEY, 2, 2, 0, False, 1, "h", "m", 0, accepted_at=0.0)
GENERATION = Generation(CollectionUid("c"), 1, world.A, world.B)


def failed(pipe, *, attempts=0, permanent=False, versions=()):
    row = replace(ROW, attempts=attempts)
    about = {"seq": 2, "pipe": pipe, "reason": Reason.EMBEDDING_FAILED, "detail": "why"}
    return trying.fail(row, versions, GENERATION, **about, permanent=permanent, now=100.0)


def test_a_failure_counts_and_is_tried_again_later():
    outcome = failed(world.A.pipe, attempts=1)
    assert (outcome.row.attempts, outcome.row.next_try, outcome.delay_seconds) == (2, 105.0, 5.0)
    assert not outcome.row.failed


def test_the_last_try_or_a_permanent_failure_fails_the_document():
    assert failed(world.A.pipe, attempts=4).row.failed
    assert failed(world.A.pipe, permanent=True).row.failed


def test_a_pipeline_that_is_not_active_gives_up_alone():
    outcome = failed(world.B.pipe, permanent=True)
    assert not outcome.row.failed
    assert outcome.given_up is not None
    assert outcome.given_up.state is VersionState.FAILED


def test_trying_anew_drops_what_failed_or_was_not_finished():
    begun = Version(KEY, 2, world.A.pipe, BuildId("b"), 1, VersionState.INTENT, 0.0, "h")
    assert trying.begun_in_vain(ROW, [begun], GENERATION) is None
    assert trying.begun_in_vain(replace(ROW, failed=True), [begun], GENERATION) == [begun]
    assert trying.begun_in_vain(replace(ROW, failed=True, tomb=True), [begun], GENERATION) is None
    anew = trying.tried_anew(replace(ROW, failed=True, attempts=5), now=9.0)
    assert (anew.failed, anew.attempts, anew.hinted_at) == (False, 0, 9.0)
