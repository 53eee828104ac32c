"""Why a document is as it is: one sentence that a person understands, and what happens next or what to do.

A pure function over one consistent look, the timeline and the depths of the queues. Times are told as ages at the look,
on the ledger's clock. Invariant: every state has a sentence, and every sentence of waiting names for what, how long,
and who will look at it again, so that nothing ever waits without a reason that can be asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bloomweaver.domain import explanations, steps
from bloomweaver.domain.documents import Pipeline, State, Version, VersionState
from bloomweaver.domain.events import Lane, Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history, ledger, queues

RETRY = "`bloomweaver retry` tries it again as it is."
SHOWN_BEFORE = " Search goes on showing the version before it."
ON_ITS_OWN = "Nothing has to be done: it goes on by itself."


@dataclass(frozen=True, slots=True)
class Explanation:
    """verdict: how it stands. next: what will happen, or what to do."""

    verdict: str
    next: str


def explain(
    look: ledger.Look, timeline: Sequence[history.TimelineStep], depths: Mapping[str, queues.Depth]
) -> Explanation:
    """The explanation of a document."""
    state = look.row.state
    if state is State.DELETED:
        return _deleted(look, timeline, depths)
    if state is State.FAILED:
        return _failed(look)
    if state is State.SEARCHABLE:
        return _searchable(look)
    return _waiting(look, timeline, depths)


def age(seconds: float) -> str:
    """A duration as a person says it."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h"
    return f"{whole // 86_400} days"


def _deleted(
    look: ledger.Look, timeline: Sequence[history.TimelineStep], depths: Mapping[str, queues.Depth]
) -> Explanation:
    by = next((step.actor for step in reversed(timeline) if step.seq == look.row.seq and step.actor), "")
    verdict = (
        f"It was deleted {age(look.at - look.row.accepted_at)} ago{f' by {by}' if by else ''}; no search shows it."
    )
    dying = [version for version in look.versions if version.state is not VersionState.GONE]
    if not dying:
        return Explanation(
            verdict,
            "Its vectors are gone. A note stays, so that an older change that comes late does not bring it back.",
        )
    waiting = _crowd(depths, queues.queue_name(Lane.DELETE))
    left = "1 version" if len(dying) == 1 else f"{len(dying)} versions"
    return Explanation(verdict, f"The vectors of {left} are being removed from the store{waiting}. {ON_ITS_OWN}")


def _failed(look: ledger.Look) -> Explanation:
    row = look.row
    reason = row.reason or Reason.ATTEMPTS_EXHAUSTED
    explanation = explanations.of(reason)
    tries = "1 attempt" if row.attempts == 1 else f"{row.attempts} attempts"
    detail = f" ({row.detail})" if row.detail else ""
    verdict = f"It failed after {tries}: {_lowered(explanation.meaning).rstrip('.')}{detail}."
    if row.live:
        verdict += SHOWN_BEFORE
    return Explanation(verdict, f"{explanation.next} {RETRY}")


def _searchable(look: ledger.Look) -> Explanation:
    row, generation = look.row, look.generation
    live = steps.find(look.versions, row.live, generation.active.pipe)
    if live is not None and live.n_chunks == 0:
        verdict = "It is kept, but there is no text in it that a search could find."
    else:
        chunks = "" if live is None else f", in {live.n_chunks} chunk{'' if live.n_chunks == 1 else 's'}"
        lasting = "" if row.shown_at is None else f", for {age(look.at - row.shown_at)} now"
        verdict = f"Search shows what was sent last{chunks}{lasting}."
    building = generation.building
    if building is None:
        return Explanation(verdict, "Nothing has to be done.")
    if steps.is_ready(look.versions, row.live, building.pipe, active=generation.active.pipe):
        return Explanation(verdict, f"It is ready for the re-index to {building.model} too. Nothing has to be done.")
    return Explanation(verdict, f"A re-index to {building.model} builds it anew beside what is shown. {ON_ITS_OWN}")


def _waiting(
    look: ledger.Look, timeline: Sequence[history.TimelineStep], depths: Mapping[str, queues.Depth]
) -> Explanation:
    row = look.row
    accepted = f"Accepted {age(look.at - row.accepted_at)} ago"
    shown = SHOWN_BEFORE if row.live else ""
    if row.next_try is not None and row.next_try > look.at:
        return _scheduled(look, accepted, shown)
    wanted = [step for step in steps.next_steps(row, look.versions, look.generation) if step.seq == row.seq]
    step = next((step for step in wanted if step.pipe == look.generation.active.pipe), None) or next(iter(wanted), None)
    if step is None:
        verdict = f"{accepted}; every pipeline has it and it is about to be shown.{shown}"
        return Explanation(verdict, ON_ITS_OWN)
    pipeline = look.generation.pipeline(step.pipe)
    verdict = f"{accepted}; {_stage(step, look, timeline, pipeline)}{_crowd(depths, queues.queue_of(step))}.{shown}"
    if row.reason is Reason.PIPELINE_UNAVAILABLE:
        return Explanation(verdict, explanations.of(row.reason).next)
    return Explanation(verdict, _following(look, depths, step))


def _scheduled(look: ledger.Look, accepted: str, shown: str) -> Explanation:
    row = look.row
    reason = row.reason or Reason.RETRY_SCHEDULED
    detail = f" ({row.detail})" if row.detail else ""
    tried = f"attempt {row.attempts} failed: " if row.attempts else ""
    verdict = f"{accepted}; {tried}{_lowered(explanations.of(reason).meaning).rstrip('.')}{detail}.{shown}"
    in_seconds = age((row.next_try or look.at) - look.at)
    if row.attempts:
        left = max(0, len(steps.RETRY_DELAYS_SECONDS) + 1 - row.attempts)
        return Explanation(verdict, f"The next attempt begins in {in_seconds}; {left} more until it counts as failed.")
    return Explanation(
        verdict, f"It is tried again in {in_seconds}, as often as it takes; this does not count as a failure."
    )


def _stage(step: Step, look: ledger.Look, timeline: Sequence[history.TimelineStep], pipeline: Pipeline | None) -> str:
    """What the step waits for, in the words of the reasons."""
    model = pipeline.model if pipeline else "its model"
    beside = "" if step.pipe == look.generation.active.pipe else f" for the re-index to {model}"
    if look.row.reason is Reason.PIPELINE_UNAVAILABLE:
        return f"no worker that is running can do model {model} as this collection wants it{beside}"
    if step.lane is Lane.CHANGE:
        return f"the text waits to be embedded{beside or f' with {model}'}"
    version = steps.find(look.versions, step.seq, step.pipe)
    if version is not None and _written(timeline, version):
        return f"the vectors are written{beside} and the store does not show all of them yet"
    return f"the vectors are made{beside} and wait to be written"


def _written(timeline: Sequence[history.TimelineStep], version: Version) -> bool:
    return any(
        step.step is history.StepName.WRITTEN and step.seq == version.seq and step.pipe in ("", version.pipe)
        for step in timeline
    )


def _crowd(depths: Mapping[str, queues.Depth], queue: str) -> str:
    """How full the queue is, where that says anything."""
    depth = depths.get(queue)
    if depth is None or depth.total <= 1:
        return ""
    first = f", the first for {age(depth.oldest_age_seconds)}" if depth.oldest_age_seconds else ""  # not all tell it
    return f"; {depth.total} documents are in that queue{first}"


def _following(look: ledger.Look, depths: Mapping[str, queues.Depth], step: Step) -> str:
    depth = depths.get(queues.queue_of(step))
    if depth is not None and depth.total:
        return ON_ITS_OWN
    hinted = look.row.hinted_at if look.row.hinted_at is not None else look.row.accepted_at
    due = max(0.0, hinted + steps.hint_delay(look.row.hints) - look.at)
    when = f"within {age(due)}" if due >= 1 else "in its next round"
    return f"Its queue is empty, so the message may be lost: the reconciler sends a new one {when}. {ON_ITS_OWN}"


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
