from dataclasses import replace

import pytest

from bloomweaver.domain import steps
from bloomweaver.domain.documents import Meta, Ordering, VersionState
from bloomweaver.domain.errors import Refusal
from bloomweaver.domain.events import Expect, Lane, MetaPatch, Outcome
from bloomweaver.domain.reasons import Reason
from tests.support import builders

A, B = builders.pipeline("pipe-a"), builders.pipeline("pipe-b")
BOTH = builders.generation(2, building=B)
SENT = builders.content().hash
READY, LIVE, INTENT = VersionState.READY, VersionState.LIVE, VersionState.INTENT
DEAD, GONE, FAILED = VersionState.DEAD, VersionState.GONE, VersionState.FAILED


def decide(row, change, *, ordering=Ordering.ARRIVAL, next_seq=9, **more):
    return steps.accept(
        row, change, key=builders.KEY, ordering=ordering, next_seq=next_seq, now=builders.NOW + 5, **more
    )


def sourced(row, change, **more):
    return decide(row, change, ordering=Ordering.SOURCE, **more)


def lanes(row, versions=(), generation=None):
    found = steps.next_steps(row, versions, generation or builders.generation())
    return [(step.lane, step.seq, step.pipe) for step in found]


def test_a_first_change_creates():
    decision = decide(None, builders.change())
    assert (decision.outcome, decision.takes_seq) == (Outcome.CREATED, True)
    assert (decision.row.seq, decision.row.src, decision.row.live) == (9, 9, 0)
    assert decision.row.accepted_at == decision.row.hinted_at == builders.NOW + 5


def test_other_content_updates_and_forgets_the_troubles_of_the_old():
    troubled = builders.row(3, live=3, failed=True, attempts=4, reason=Reason.UNPARSABLE, next_try=1.0, hints=3)
    decision = decide(troubled, builders.change("other"))
    row = decision.row
    assert (decision.outcome, row.seq, row.live) == (Outcome.UPDATED, 9, 3)
    assert (row.failed, row.attempts, row.reason, row.next_try, row.hints) == (False, 0, None, None, 0)


def test_the_same_again_is_unchanged():
    row = builders.row(3, live=3)
    assert decide(row, builders.change()) == steps.Decision(Outcome.UNCHANGED, row)


def test_other_metadata_with_the_same_content_is_metadata_only():
    decision = decide(builders.row(3), builders.change(meta=Meta(title="New")))
    assert (decision.outcome, decision.takes_seq, decision.row.content_hash) == (Outcome.METADATA_ONLY, True, SENT)


def test_the_same_content_after_a_delete_is_created_anew():
    decision = decide(builders.tombstone(5), builders.change())
    assert (decision.outcome, decision.row.tomb, decision.row.fsrc) == (Outcome.CREATED, False, 5)


@pytest.mark.parametrize(
    ("version", "text", "outcome", "reason"),
    [
        (4, "other", Outcome.SUPERSEDED, Reason.OLDER_THAN_CURRENT),
        (5, "other", Outcome.SUPERSEDED, Reason.EQUAL_SOURCE_VERSION),
        (5, None, Outcome.UNCHANGED, None),
        (6, "other", Outcome.UPDATED, None),
    ],
)
def test_only_a_newer_source_version_is_accepted(version, text, outcome, reason):
    change = builders.change(source_version=version) if text is None else builders.change(text, source_version=version)
    decision = sourced(builders.row(3, src=5), change)
    assert (decision.outcome, decision.reason) == (outcome, reason)
    assert decision.row.src == (6 if outcome is Outcome.UPDATED else 5)


def test_news_that_affirm_raise_the_order_key_of_what_they_affirm():
    decision = sourced(builders.row(3, src=5), builders.change(source_version=8))
    assert (decision.outcome, decision.row.src, decision.affirms) == (Outcome.UNCHANGED, 8, (3, 8))
    assert not decision.takes_seq


def test_a_delete_hides_at_once_and_kills_everything_below():
    decision = decide(builders.row(3, live=3), builders.delete())
    row = decision.row
    assert (decision.outcome, row.tomb, row.live, row.seq, row.fsrc) == (Outcome.DELETED, True, 0, 9, 9)
    assert (decision.kills_below, decision.takes_seq) == (9, True)


@pytest.mark.parametrize("row", [None, builders.tombstone(4)])
def test_deleting_what_is_not_there_changes_nothing(row):
    assert decide(row, builders.delete()) == steps.Decision(Outcome.UNCHANGED, row)


def test_a_delete_from_the_future_of_an_unknown_document_is_remembered():
    decision = sourced(None, builders.delete(source_version=7))
    assert (decision.outcome, decision.row.tomb, decision.row.fsrc) == (Outcome.DELETED, True, 7)
    assert sourced(decision.row, builders.change(source_version=6)).outcome is Outcome.SUPERSEDED


@pytest.mark.parametrize(("live_src", "live"), [(5, 0), (7, 0), (8, 2)])
def test_a_late_delete_hides_a_live_version_below_it_and_no_other(live_src, live):
    row = builders.row(3, src=9, live=2)
    decision = sourced(row, builders.delete(source_version=7), live_src=live_src)
    assert (decision.outcome, decision.row.seq, decision.row.src) == (Outcome.SUPERSEDED, 3, 9)
    assert (decision.row.fsrc, decision.row.live, decision.unflips) == (7, live, live == 0)


def test_a_delete_of_the_same_source_version_as_content_loses():
    decision = sourced(builders.row(3, src=5), builders.delete(source_version=5))
    assert (decision.outcome, decision.reason) == (Outcome.SUPERSEDED, Reason.EQUAL_SOURCE_VERSION)


def test_a_delete_without_a_version_deletes_what_is_there():
    row = builders.row(3, src=5, live=3)
    decision = sourced(row, builders.delete(expect=Expect(present=True)))
    assert (decision.outcome, decision.row.src, decision.row.fsrc) == (Outcome.DELETED, 5, 5)


def test_a_patch_keeps_the_order_key_and_merges():
    row = builders.row(3, src=5)
    patch = builders.delete(patch=MetaPatch(title="New", metadata={"team": None, "level": 2}))
    decision = sourced(row, patch, revision=builders.revision(3))
    assert (decision.outcome, decision.row.src, decision.row.seq) == (Outcome.METADATA_ONLY, 5, 9)
    assert decision.meta == Meta(title="New", metadata={"level": 2})
    assert decision.row.content_hash == row.content_hash


def test_a_patch_that_changes_nothing_is_unchanged():
    row = builders.row(3)
    patch = builders.delete(patch=MetaPatch(metadata={"team": "hr"}))
    assert decide(row, patch, revision=builders.revision(3)) == steps.Decision(Outcome.UNCHANGED, row)


def test_a_patch_can_empty_fields():
    meta = Meta(title="T", url="u", metadata={"a": 1})
    assert steps.patched(meta, MetaPatch(clear_title=True, clear_url=True)) == Meta(metadata={"a": 1})


@pytest.mark.parametrize(
    ("row", "expect", "reason"),
    [
        (None, Expect(present=True), Reason.DOCUMENT_NOT_FOUND),
        (builders.row(3), Expect(absent=True), Reason.PRECONDITION_FAILED),
        (builders.row(3), Expect(seq=2), Reason.PRECONDITION_FAILED),
        (None, Expect(seq=2), Reason.PRECONDITION_FAILED),
    ],
)
def test_a_precondition_that_does_not_hold_refuses_the_change(row, expect, reason):
    with pytest.raises(Refusal) as refused:
        decide(row, builders.change(expect=expect))
    assert refused.value.reason is reason


def test_preconditions_that_hold_let_the_change_through():
    assert decide(builders.tombstone(4), builders.change(expect=Expect(absent=True))).outcome is Outcome.CREATED
    assert decide(builders.row(3), builders.change("new", expect=Expect(seq=3))).outcome is Outcome.UPDATED


@pytest.mark.parametrize("row", [None, builders.tombstone(4)])
def test_what_is_not_there_cannot_be_patched(row):
    patch = builders.delete(patch=MetaPatch(title="x"))
    with pytest.raises(Refusal) as refused:
        decide(row, patch, revision=None)
    assert refused.value.reason is Reason.DOCUMENT_NOT_FOUND


def test_a_source_version_is_required_where_it_orders_and_refused_where_it_does_not():
    with pytest.raises(Refusal) as missing:
        sourced(None, builders.change())
    with pytest.raises(Refusal) as extra:
        decide(None, builders.change(source_version=1))
    assert missing.value.reason is Reason.SOURCE_VERSION_REQUIRED
    assert extra.value.reason is Reason.SOURCE_VERSION_REFUSED


def test_a_document_nobody_worked_on_goes_to_the_embedder():
    assert lanes(builders.row(1)) == [(Lane.CHANGE, 1, A.pipe)]


def test_an_intent_goes_to_the_writer_of_new_or_of_known_documents():
    assert lanes(builders.row(1), [builders.version(1)]) == [(Lane.CREATE, 1, A.pipe)]
    assert lanes(builders.row(2, live=1), [builders.version(2)]) == [(Lane.UPDATE, 2, A.pipe)]


def test_content_that_was_built_before_wakes_no_embedder():
    row = builders.row(2, live=1)
    assert lanes(row, [builders.version(1, state=LIVE)]) == [(Lane.UPDATE, 2, A.pipe)]
    for unusable in (GONE, FAILED):
        assert lanes(row, [builders.version(1, state=unusable)]) == [(Lane.CHANGE, 2, A.pipe)]


def test_a_searchable_document_needs_nothing():
    assert lanes(builders.row(1, live=1), [builders.version(1, state=LIVE)]) == []


def test_a_failed_document_needs_nothing_until_it_is_retried():
    assert lanes(builders.row(2, live=1, failed=True), [builders.version(1, state=LIVE)]) == []


def test_a_tombstone_goes_to_be_removed_until_all_is_gone():
    row = builders.tombstone(2)
    assert lanes(row, [builders.version(1, state=DEAD)]) == [(Lane.DELETE, 2, A.pipe)]
    assert lanes(row, [builders.version(1, state=GONE)]) == []


def test_a_building_pipeline_needs_the_desired_seq_and_what_is_live():
    row = builders.row(2, live=1)
    versions = [builders.version(1, state=LIVE), builders.version(2, content_hash=SENT)]
    assert lanes(row, versions, BOTH) == [
        (Lane.UPDATE, 2, A.pipe),
        (Lane.CHANGE, 2, B.pipe),
        (Lane.CHANGE, 1, B.pipe),
    ]


def test_a_version_that_is_gone_is_built_anew_where_it_is_wanted_and_a_dead_one_is_waited_for():
    row = builders.row(1, live=1)
    live = builders.version(1, state=LIVE)
    gone = builders.version(1, pipe=B.pipe, state=GONE)
    assert lanes(row, [live, gone], BOTH) == [(Lane.CHANGE, 1, B.pipe)]
    assert steps.may_intend(row, [live, gone], BOTH, seq=1, pipe=B.pipe)
    dead = replace(gone, state=DEAD)
    assert lanes(row, [live, dead], BOTH) == []
    assert not steps.may_intend(row, [live, dead], BOTH, seq=1, pipe=B.pipe)


@pytest.mark.parametrize(
    ("row", "seq", "pipe", "may"),
    [
        (builders.row(2), 2, A.pipe, True),
        (builders.row(2), 1, A.pipe, False),
        (builders.row(2), 2, B.pipe, False),
        (builders.tombstone(2), 2, A.pipe, False),
        (builders.row(2, failed=True), 2, A.pipe, False),
        (None, 2, A.pipe, False),
    ],
)
def test_only_wanted_work_in_a_current_pipeline_is_begun(row, seq, pipe, may):
    assert steps.may_intend(row, [], builders.generation(), seq=seq, pipe=pipe) is may


def test_the_fence_lets_only_newer_allowed_and_ready_versions_through():
    row = builders.row(3, live=2, fsrc=2)
    ready = [builders.version(3, state=READY)]
    one = builders.generation()

    def passes(row=row, versions=ready, seq=3, src=3, epoch=1, generation=one):
        return steps.may_flip(row, versions, generation, seq=seq, src=src, epoch=epoch)

    assert passes()
    assert not passes(seq=2)
    assert not passes(src=2)
    assert not passes(epoch=2)
    assert not passes(versions=[])
    assert not passes(versions=[builders.version(3, state=INTENT)])


def test_every_current_pipeline_has_to_be_ready_unless_it_gave_up_and_is_not_active():
    row = builders.row(3)
    ready = builders.version(3, state=READY)
    elsewhere = replace(ready, pipe=B.pipe)

    def passes(*versions):
        return steps.may_flip(row, versions, BOTH, seq=3, src=3, epoch=2)

    assert not passes(ready)
    assert passes(ready, elsewhere)
    assert passes(ready, replace(elsewhere, state=FAILED))
    assert not passes(replace(ready, state=FAILED), elsewhere)


def test_an_unfinished_version_is_given_up_only_when_it_can_never_be_shown():
    row = builders.row(5, live=3, fsrc=2)
    assert not steps.is_abandoned(row, builders.version(4), src=3)
    assert not steps.is_abandoned(row, builders.version(3), src=3)
    assert steps.is_abandoned(row, builders.version(2), src=3)
    assert steps.is_abandoned(row, builders.version(4), src=2)
    assert steps.is_abandoned(builders.tombstone(5), builders.version(4), src=3)
    assert steps.is_abandoned(None, builders.version(4), src=3)


@pytest.mark.parametrize(
    ("removals", "age", "tomb", "due"),
    [
        (0, 59, False, False),
        (0, 60, False, True),
        (0, 0, True, True),
        (1, 599, True, False),
        (1, 600, False, True),
    ],
)
def test_vectors_go_after_their_grace_and_once_more(removals, age, tomb, due):
    version = builders.version(1, state=DEAD, removals=removals)
    row = builders.tombstone(2) if tomb else builders.row(2, live=2)
    assert steps.removal_due(version, row, now=builders.NOW + age) is due
    assert not steps.removal_due(replace(version, state=LIVE), row, now=builders.NOW + 9999)


def test_vectors_are_gone_after_the_second_removal_and_a_removal_counts_once():
    dead = builders.version(1, state=DEAD)
    once = steps.removal_counted([dead], dead, now=builders.NOW + 60)
    assert once == replace(dead, removals=1)
    assert steps.removal_counted([once], dead, now=builders.NOW + 61) is None
    twice = steps.removal_counted([once], once, now=builders.NOW + 600)
    assert twice == replace(dead, removals=2, state=GONE, since=builders.NOW + 600)
    assert steps.removal_counted([twice], once, now=builders.NOW + 601) is None
    assert steps.removal_counted([], dead, now=builders.NOW) is None


def test_tries_are_few_and_hints_are_for_ever():
    assert [steps.retry_delay(n) for n in range(1, 6)] == [1.0, 5.0, 30.0, 120.0, None]
    assert [steps.hint_delay(n) / 60 for n in (0, 1, 2, 5, 6, 100)] == [1, 2, 4, 32, 60, 60]
