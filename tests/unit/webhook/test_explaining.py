"""`why` in sentences: one golden page over every state, and every reason that a document can fail or wait for."""

import dataclasses
from typing import Any

from bloomweaver.domain import documents
from bloomweaver.domain.documents import VersionState
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history, ledger, queues
from bloomweaver.webhook import explaining
from tests.support import builders, golden

AT = builders.NOW + 90.0
CHANGE = f"change:{builders.pipeline().space}"
READY, LIVE, DEAD, GONE = VersionState.READY, VersionState.LIVE, VersionState.DEAD, VersionState.GONE
WAITS = (Reason.THROTTLED, Reason.EMBEDDER_UNAVAILABLE, Reason.VECTORS_UNAVAILABLE, Reason.RETRY_SCHEDULED)
FAILURES = (
    Reason.UNPARSABLE, Reason.TEXT_TOO_LONG, Reason.BLOB_MISSING, Reason.EMBEDDING_FAILED, Reason.INVALID_VECTOR,
    Reason.STORE_REFUSED, Reason.READER_CRASHED, Reason.ATTEMPTS_EXHAUSTED, Reason.UNSUPPORTED_MEDIA_TYPE,
)  # fmt: skip


def look(row: documents.Row, *versions: documents.Version, **generation: Any) -> ledger.Look:
    revisions = tuple(builders.revision(seq) for seq in sorted({row.seq, *(v.seq for v in versions)}))
    return ledger.Look(AT, builders.collection(), builders.generation(**generation), row, versions, revisions)


def step(name: history.StepName, seq: int = 1, **changes: Any) -> history.TimelineStep:
    return dataclasses.replace(history.TimelineStep(builders.NOW, name, seq, actor="key:tests"), **changes)


def busy(**depths: int) -> dict[str, queues.Depth]:
    names = {"change": CHANGE, "create": "create", "update": "update", "delete": "delete"}
    return {names[name]: queues.Depth(visible=count, oldest_age_seconds=45.0) for name, count in depths.items()}


def cases():
    """(title, look, timeline, depths)."""
    row, version = builders.row, builders.version
    other = builders.pipeline("pipe-b", model="bge-small-en-v1.5")
    building = version(1, pipe=other.pipe)
    accepted = [step(history.StepName.ACCEPTED)]
    written = [*accepted, step(history.StepName.WRITTEN)]
    shown = row(1, live=1, shown_at=AT - 30.0)
    yield "pending, alone in the queue", look(row()), accepted, busy(change=1)
    yield "pending, in a crowd", look(row()), accepted, busy(change=1200)
    yield "pending, its hint lost", look(row()), accepted, {}
    yield "pending, hinted often", look(row(hints=4, hinted_at=AT - 60.0)), accepted, {}
    unable = row(reason=Reason.PIPELINE_UNAVAILABLE)
    yield "pending, nobody can do its pipeline", look(unable), accepted, busy(change=2)
    yield "indexing, waits for a writer", look(row(started=1), version()), accepted, busy(create=3)
    yield "indexing, waits for the store", look(row(started=1), version()), written, busy(create=1)
    newer = row(2, live=1, content_hash="other")
    yield "updating", look(newer, version(1, state=LIVE)), accepted, busy(change=1)
    edit = look(row(2, live=1), version(1, state=LIVE))
    yield "updating, metadata only", edit, accepted, busy(update=1)
    held = look(row(2, live=1), version(1, state=LIVE), version(2, state=READY, pipe=builders.pipeline().pipe))
    yield "about to be shown", held, accepted, {}
    both = look(row(1), version(1, state=READY), building=other)
    yield "held by the pipeline that is being built", both, accepted, {}
    for reason in WAITS:
        waiting = row(reason=reason, detail="said so", next_try=AT + 20.0)
        yield f"waits: {reason}", look(waiting), accepted, {}
    counted = row(reason=Reason.EMBEDDING_FAILED, detail="said so", next_try=AT + 20.0, attempts=2)
    yield "an attempt failed", look(counted), accepted, {}
    yield "searchable", look(shown, version(1, state=LIVE, n_chunks=12)), accepted, {}
    yield "searchable, one chunk", look(shown, version(1, state=LIVE)), accepted, {}
    empty = dataclasses.replace(shown, reason=Reason.NO_TEXT)
    yield "searchable, no text", look(empty, version(1, state=LIVE, n_chunks=0)), accepted, {}
    yield "searchable, being re-indexed", look(shown, version(1, state=LIVE), building=other), accepted, {}
    rebuilt = dataclasses.replace(building, state=READY)
    yield "searchable, re-indexed", look(shown, version(1, state=LIVE), rebuilt, building=other), accepted, {}
    for reason in FAILURES:
        failed = row(failed=True, reason=reason, detail="said so", attempts=1)
        yield f"failed: {reason}", look(failed), accepted, {}
    tried = row(2, live=1, failed=True, reason=Reason.EMBEDDING_FAILED, attempts=5)
    yield "failed, an older version is shown", look(tried, version(1, state=LIVE)), accepted, {}
    gone = builders.tombstone()
    deleted = [step(history.StepName.HIDDEN, 2)]
    yield "deleted, vectors are being removed", look(gone, version(1, state=DEAD)), deleted, busy(delete=40)
    yield "deleted, all gone", look(gone, version(1, state=GONE)), deleted, {}
    yield "deleted, by nobody known", look(gone), [], {}


def test_every_state_and_reason_reads_like_a_colleague():
    page = []
    for title, seen, timeline, depths in cases():
        explanation = explaining.explain(seen, timeline, depths)
        page.append(f"{title} ({seen.row.state})\n  {explanation.verdict}\n  {explanation.next}\n")
    golden.check("why.txt", "\n".join(page))


def test_every_state_has_a_case():
    assert {seen.row.state for _, seen, _, _ in cases()} == set(documents.State)


def test_durations_are_told_as_a_person_would():
    told = [explaining.age(seconds) for seconds in (-3, 0, 1.4, 119, 120, 7199, 7200, 172_799, 172_800)]
    assert told == ["0 s", "0 s", "1 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]
