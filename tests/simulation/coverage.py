"""What has to happen sometimes, or a silent oracle proves nothing: a race that never occurred was not survived."""

from collections import Counter

HISTORIES_PER_OCCURRENCE = 1000
"""Each has to happen at least once in so many histories, on the whole of a run."""

SOMETIMES = frozenset(
    {
        "acked_after_redelivery",
        "blob_absent",
        "blob_lost",
        "large_text",
        "collected_builds",
        "collection_removed",
        "crash_after_commit",
        "crash_before",
        "dead_letter",
        "embed_failures",
        "flip_refused",
        "freeze",
        "generation_lost",
        "hint_delayed",
        "hint_doubled",
        "hint_lost",
        "intent_lost",
        "killed_by_text",
        "late_delete",
        "late_write",
        "lost_answer",
        "partial_write",
        "probed",
        "promote_refused",
        "promoted",
        "received_again",
        "reconciler_hinted",
        "redriven",
        "resent",
        "purged",
        "rolled_back",
        "search_give_up",
        "search_retry",
        "search_several",
        "soak_ended",
        "sweep_hit",
        "throttle",
        "trouble_pipeline_unavailable",
        "unflip",
    }
)


def embeddings_per_put(counts: Counter[str]) -> float:
    """I13: texts embedded per accepted text; chunks are compared with chunks, so reuse lowers it."""
    return counts["embedded_document"] / max(1, counts["chunks_accepted"])
