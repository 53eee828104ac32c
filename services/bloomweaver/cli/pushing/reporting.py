"""What a push says of itself: before it sends, and at the end; for a person and as JSON."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bloomweaver.cli import failures, wording
from bloomweaver.cli.pushing import following, planning, sending

if TYPE_CHECKING:
    from bloomweaver.cli import client

EXAMPLES = 5


def planned(plan: planning.Plan) -> str:
    """`Compare  128 files: 5 new, 3 changed, 1 gone, 119 unchanged`."""
    told = [f"{plan.new:,} new", f"{plan.changed:,} changed"]
    told += [f"{plan.again:,} not yet searchable"] if plan.again else []
    told += [f"{plan.gone:,} gone"] if plan.gone else []
    told += [f"{plan.unchanged:,} unchanged"]
    told += [f"{len(plan.skipped):,} skipped"] if plan.skipped else []
    return f"Compared {wording.count(plan.files, 'file')}: {', '.join(told)}"


def skipped(plan: planning.Plan) -> Iterator[str]:
    """Some of the files that are no documents, with the reasons."""
    for one in plan.skipped[:EXAMPLES]:
        yield f"  skipped {wording.one_line(one.name)}: {one.detail}"
    if len(plan.skipped) > EXAMPLES:
        yield f"  skipped {len(plan.skipped) - EXAMPLES:,} more; --json lists them all"


def refused(report: sending.Report) -> Iterator[str]:
    """Some of what was not taken."""
    for one in report.refused[:EXAMPLES]:
        yield f"  refused {wording.one_line(one.name)}: {one.reason}: {wording.one_line(one.detail)}"
    if len(report.refused) > EXAMPLES:
        yield f"  refused {len(report.refused) - EXAMPLES:,} more; --json lists them all"


async def failed(api: "client.Api", collection: str, ended: following.Ended | None) -> list[dict[str, Any]]:
    """Some of the documents that failed, where any did."""
    if ended is None or not ended.counts["failed"]:
        return []
    page = await api.get("/v1/dead-letters", collection=collection, limit=EXAMPLES)
    items: list[dict[str, Any]] = page["items"]
    return items


def failures_of(items: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Failed documents with the reason and what to do."""
    for item in items:
        name = wording.one_line(f"{item['collection']}/{item['document_id']}")
        reason = item.get("reason") or ""
        yield f"  failed {name}: {failures.meaning_of(reason)} {failures.next_of(reason)}"


def ended(plan: planning.Plan, report: sending.Report, ended: following.Ended | None, *, batch_id: str) -> str:
    """The last line."""
    beside = [f"{plan.unchanged:,} unchanged"] if plan.unchanged else []
    beside += [f"{len(plan.skipped):,} skipped"] if plan.skipped else []
    beside += [f"{len(report.refused):,} refused"] if report.refused else []
    tail = f" {', '.join(beside).capitalize()}." if beside else ""
    if ended is not None:
        more = f" `bloomweaver wait {batch_id}` goes on waiting." if ended.timed_out else ""
        return f"{ended.sentence()}{tail}{more}"
    if report.acknowledged:
        return f"Accepted {report.acknowledged:,}.{tail} `bloomweaver wait {batch_id}` follows them."
    return f"Nothing to send.{tail}"


def as_json(
    plan: planning.Plan,
    report: sending.Report,
    ended: following.Ended | None,
    *,
    batch_id: str | None,
    failed: Sequence[dict[str, Any]] = (),
) -> dict[str, object]:
    """The whole account."""
    return {
        "batch_id": batch_id,
        "files": {
            "new": plan.new,
            "changed": plan.changed,
            "not_yet_searchable": plan.again,
            "unchanged": plan.unchanged,
            "gone": plan.gone,
        },
        "skipped": [{"name": one.name, "reason": one.reason.value, "detail": one.detail} for one in plan.skipped],
        "accepted": report.acknowledged,
        "outcomes": dict(report.outcomes),
        "refused": [{"name": one.name, "reason": one.reason, "detail": one.detail} for one in report.refused],
        "counts": dict(ended.counts) if ended else None,
        "failed": [{"document_id": item["document_id"], "reason": item.get("reason")} for item in failed],
        "timed_out": ended.timed_out if ended else False,
        "seconds": round(ended.seconds, 3) if ended else None,
    }
