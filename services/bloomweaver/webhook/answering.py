"""Rows and outcomes as the JSON that the contract promises: one shape of state, one shape of a result, times in UTC."""

import datetime as dt
from collections.abc import Mapping
from typing import TypeAlias

from bloomweaver.domain.documents import Row, State
from bloomweaver.domain.events import Accepted
from bloomweaver.runtime.web import paths

Json: TypeAlias = dict[str, object]


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC."""
    if seconds is None:
        return None
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_of(row: Row, *, now: float) -> Json:
    """The state, flat, as in every answer that has one."""
    return {
        "state": row.state.value,
        "seq": row.seq,
        "live_seq": row.live,
        "age_seconds": round(max(0.0, now - row.accepted_at), 3),
        "attempts": row.attempts,
        "next_try_at": timestamp(row.next_try),
        "reason": row.reason.value if row.reason else None,
        "detail": row.detail or None,
    }


def result_of(accepted: Accepted, *, collection: str, document_id: str, row: Row | None, now: float) -> Json:
    """What became of one change. row: the document now, which may be later than the change. seq: the change's own."""
    result: Json = {
        "event_id": accepted.event_id,
        "collection": collection,
        "document_id": document_id,
        "outcome": accepted.outcome.value,
    }
    if accepted.original is not None:
        result["original_outcome"] = accepted.original.value
    result.update(state_of(row, now=now) if row else absent())
    result["seq"] = accepted.seq
    if accepted.reason is not None:
        result["reason"] = result["detail"] = accepted.reason.value
    result["status_url"] = status_url(collection, document_id)
    return result


def counts_of(counts: Mapping[State, int]) -> dict[str, int]:
    """Every state with its number, those without documents too."""
    return {state.value: counts.get(state, 0) for state in State}


def status_url(collection: str, document_id: str) -> str:
    """Where the document's state is."""
    return f"/v1/collections/{collection}/documents/{paths.encode(document_id)}"


def etag(seq: int) -> dict[str, str]:
    """The header that If-Match wants back."""
    return {"ETag": f'"{seq}"'}


def absent() -> Json:
    """The state of a document that left no trace: it was never there, or its tombstone went."""
    return {
        "state": State.DELETED.value,
        "seq": 0,
        "live_seq": 0,
        "age_seconds": 0.0,
        "attempts": 0,
        "next_try_at": None,
        "reason": None,
        "detail": None,
    }
