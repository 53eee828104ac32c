"""How passages are packed: by length, into batches of a budget of padded tokens.

Padding costs as much as text, and a batch whose activations leave the cache costs more than two that stay; both are
bounded by packing neighbours in length up to a budget, never a fixed count.
"""

from collections.abc import Sequence

from bloomweaver.domain import models


def plan(lengths: Sequence[int], *, budget_tokens: int) -> list[list[int]]:
    """Indices into `lengths` of documents, longest first, so that no batch of two or more exceeds the budget."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    while order:
        count = fitting(lengths[order[0]], models.Kind.DOCUMENT, budget_tokens=budget_tokens)
        batches.append(order[:count])
        order = order[count:]
    return batches


def fitting(longest: int, kind: models.Kind, *, budget_tokens: int) -> int:
    """How many passages make a batch whose longest has this many tokens: at least one."""
    return max(1, budget_tokens // max(1, models.padded(longest, kind)))
