"""What workers tell the ledger: intents, settlements, failures, removals (R5, R7 to R9), each under the row's lock."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from bloomweaver.adapters.engines import failing
from bloomweaver.adapters.engines.sqlite import chunk_rows, documents
from bloomweaver.domain import steps
from bloomweaver.domain.documents import DocumentKey, Row, Version, VersionState
from bloomweaver.domain.events import Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history, ledger

_STANDING = (VersionState.INTENT, VersionState.READY, VersionState.LIVE)
_INSERT_VERSION = (
    "INSERT OR REPLACE INTO version (did, seq, pipe, build, n_chunks, state, since, content_hash, removals,"
    " tokens_embedded, tokens_reused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)"
)
_INSERT_CHUNK = (
    'INSERT OR REPLACE INTO chunk (id, kind, hash, start, "end", heading, page, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
)


def intend(connection: sqlite3.Connection, intent: ledger.Intent, *, now: float) -> ledger.Intended:
    """R5: first one wins, and only what is wanted."""
    held = documents.hold(connection, intent.key)
    if held is None:
        return ledger.Intended(won=False, version=None)
    existing = steps.find(held.versions, intent.seq, intent.pipe)
    if existing is not None and existing.state in _STANDING:
        return ledger.Intended(won=existing.build == intent.build, version=existing)
    if not steps.may_intend(held.row, held.versions, held.generation, seq=intent.seq, pipe=intent.pipe):
        return ledger.Intended(won=False, version=None)
    if intent.chunks is None and not _build_stands(held, intent):
        return ledger.Intended(won=False, version=None)
    version = Version(
        intent.key,
        intent.seq,
        intent.pipe,
        intent.build,
        intent.n_chunks,
        VersionState.INTENT,
        now,
        intent.content_hash,
        tokens_embedded=intent.tokens_embedded,
        tokens_reused=intent.tokens_reused,
    )
    _write_version(connection, held, version)
    if intent.chunks is not None:
        _write_build(connection, held, intent)
    held.versions = [v for v in held.versions if v is not existing] + [version]
    _begin(connection, held, intent, now=now)
    return ledger.Intended(won=True, version=version)


def _build_stands(held: documents.Held, intent: ledger.Intent) -> bool:
    """A build may be used again while some version that names it is not gone; after that it is being collected."""
    return any(
        v.pipe == intent.pipe and v.build == intent.build and v.state is not VersionState.GONE for v in held.versions
    )


def _write_version(connection: sqlite3.Connection, held: documents.Held, version: Version) -> None:
    connection.execute(
        _INSERT_VERSION,
        (
            held.did,
            version.seq,
            version.pipe,
            version.build,
            version.n_chunks,
            version.state,
            version.since,
            version.content_hash,
            version.tokens_embedded,
            version.tokens_reused,
        ),
    )


def _write_build(connection: sqlite3.Connection, held: documents.Held, intent: ledger.Intent) -> None:
    name = (held.did, intent.pipe, intent.build)
    connection.execute("INSERT INTO build (did, pipe, build) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", name)
    (bid,) = connection.execute("SELECT bid FROM build WHERE did = ? AND pipe = ? AND build = ?", name).fetchone()
    connection.executemany(_INSERT_CHUNK, [chunk_rows.values(bid, chunk) for chunk in intent.chunks or ()])


def _begin(connection: sqlite3.Connection, held: documents.Held, intent: ledger.Intent, *, now: float) -> None:
    """The row learns that work goes on: the worker hints the writer now, so the reconciler's delay starts anew."""
    row = replace(held.row, hinted_at=now, hints=0, next_try=None)
    if intent.seq == row.seq:
        row = replace(row, started=intent.seq, reason=intent.reason, detail="")
    tokens = intent.tokens_embedded + intent.tokens_reused
    if tokens:
        connection.execute("UPDATE revision SET tokens = ? WHERE seq = ?", (tokens, intent.seq))
    detail = f"{intent.n_chunks} chunks, {intent.tokens_embedded} tokens embedded, {intent.tokens_reused} reused"
    step = history.TimelineStep(
        now, history.StepName.EMBEDDED, intent.seq, intent.pipe, reason=intent.reason, detail=detail
    )
    documents.note(connection, held.did, step)
    held.row = row
    documents.save(connection, held, was_live=row.live)


def settle(connection: sqlite3.Connection, settlement: ledger.Settlement, *, now: float) -> ledger.Settled:
    """R7, R8: the version is ready; the row flips if the fence lets it."""
    held = documents.hold(connection, settlement.key)
    if held is None:
        return ledger.Settled(flipped=False, row=None)
    row, seq = held.row, settlement.seq
    version = steps.find(held.versions, seq, settlement.pipe)
    if version is None or version.state not in (VersionState.INTENT, VersionState.READY):
        return ledger.Settled(flipped=False, row=row, steps=_following(held))
    if version.state is VersionState.INTENT:
        _confirm(connection, held, version, settlement, now=now)
    waited = None
    record = connection.execute("SELECT src, accepted_at FROM revision WHERE seq = ?", (seq,)).fetchone()
    if record is not None and steps.may_flip(
        row, held.versions, held.generation, seq=seq, src=record[0], epoch=settlement.epoch
    ):
        documents.flip(connection, held, seq, now=now)
        waited = now - record[1]
    following = _saved(connection, held, was=row)
    return ledger.Settled(flipped=waited is not None, row=held.row, steps=following, waited_seconds=waited)


def _following(held: documents.Held) -> tuple[Step, ...]:
    return steps.next_steps(held.row, held.versions, held.generation)


def _saved(connection: sqlite3.Connection, held: documents.Held, *, was: Row) -> tuple[Step, ...]:
    """Where all that was wanted is done, nothing is left to wait for."""
    row = held.row
    if row.live == row.seq and row.next_try is not None and not _following(held):
        held.row = replace(row, next_try=None, reason=None, detail="", attempts=0)
    return documents.save(connection, held, was_live=was.live)


def _confirm(
    connection: sqlite3.Connection,
    held: documents.Held,
    version: Version,
    settlement: ledger.Settlement,
    *,
    now: float,
) -> None:
    state = VersionState.LIVE if held.row.live == version.seq else VersionState.READY
    documents.change_version(connection, held, version, replace(version, state=state, since=now))
    if settlement.position is not None:
        connection.execute(
            "INSERT INTO namespace VALUES (?1, ?2, ?3)"
            " ON CONFLICT DO UPDATE SET position = max(coalesce(position, 0), excluded.position)",
            (held.stored.cid, version.pipe, settlement.position),
        )
    step = history.TimelineStep(now, history.StepName.CONFIRMED, version.seq, version.pipe)
    documents.note(connection, held.did, step)


def postpone(
    connection: sqlite3.Connection,
    keys: Sequence[DocumentKey],
    *,
    seq: int,
    reason: Reason,
    delay_seconds: float,
    now: float,
) -> None:
    """Sets the next try and why; counts nothing."""
    for key in keys:
        held = documents.hold(connection, key)
        if held is None or held.row.tomb or seq not in (held.row.seq, held.row.live) or not _following(held):
            continue
        row = held.row
        held.row = replace(row, next_try=now + delay_seconds, reason=reason, detail="")
        if row.reason is not reason:
            step = history.TimelineStep(now, history.StepName.WAITING, seq, reason=reason)
            documents.note(connection, held.did, step)
        documents.save(connection, held, was_live=row.live)


def fail(connection: sqlite3.Connection, failure: ledger.Failure, *, now: float) -> float | None:
    """Counts; after the last try, or at once where it is permanent, it has failed."""
    held = documents.hold(connection, failure.key)
    if held is None:
        return None
    row = held.row
    found = failing.judged(row, held.versions, held.generation, failure, now=now)
    if found.failed is not None and found.step is not None:
        held.row = found.failed.row
        if found.failed.given_up is not None:
            _give_up(connection, held, found.failed.given_up)
        documents.note(connection, held.did, found.step)
        if found.delay_seconds is None:
            documents.flip_what_waits(connection, held, now=now)
        documents.save(connection, held, was_live=row.live)
    return found.delay_seconds


def _give_up(connection: sqlite3.Connection, held: documents.Held, failed: Version) -> None:
    version = steps.find(held.versions, failed.seq, failed.pipe)
    if version is None or version.state is VersionState.GONE:
        _write_version(connection, held, failed)
        held.versions = [v for v in held.versions if v is not version] + [failed]
    else:
        documents.change_version(connection, held, version, failed)


def removed(connection: sqlite3.Connection, versions: Sequence[Version], *, now: float) -> None:
    """Counted for each; R9 says why."""
    for version in versions:
        _removed(connection, version, now=now)


def _removed(connection: sqlite3.Connection, version: Version, *, now: float) -> None:
    held = documents.hold(connection, version.key)
    counted = None if held is None else steps.removal_counted(held.versions, version, now=now)
    if held is None or counted is None:
        return
    known = steps.find(held.versions, version.seq, version.pipe)
    assert known is not None
    documents.change_version(connection, held, known, counted)
    remove_at: float | None = None
    if counted.state is VersionState.GONE:
        documents.went(connection, held.did, now=now)
        step = history.TimelineStep(now, history.StepName.REMOVED, counted.seq, counted.pipe)
        documents.note(connection, held.did, step)
    else:
        remove_at = counted.since + steps.SECOND_REMOVAL_SECONDS
    connection.execute(
        "UPDATE version SET remove_at = ? WHERE did = ? AND seq = ? AND pipe = ?",
        (remove_at, held.did, counted.seq, counted.pipe),
    )
    documents.save(connection, held, was_live=held.row.live)
