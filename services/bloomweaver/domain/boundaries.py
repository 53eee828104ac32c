"""Where chunks begin: a choice that depends on nearby content alone, so that an edit cannot move boundaries far away
from it.

Atoms (paragraphs, list items, sentences: what must stay whole) lie in a row; before each lies a boundary with a key.
A smaller key is a stronger boundary: its high bits are structure (a chapter before a section before a paragraph), its
low bits a hash of the tokens after it. A boundary is a cut when the stretch in which it is the strongest one weighs
more than the limit. That is the same as cutting at the strongest boundary again and again until every part fits, but
it looks at no more than one limit's worth of text on either side. Neighbours that ended up small are then joined,
weakest cut first, again by a rule that sees only its neighbourhood.

Invariant: no part weighs more than the limit unless it is one atom.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Sequence

JOIN_ROUNDS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """How much may lie around a boundary before it is a cut.

    limit: no part may weigh more. small: a part below it joins a neighbour of its section. tiny: a section below it may
    join another. Keys below `forced` are cuts always; other keys below `heading` begin a section.
    """

    limit: int
    small: int
    tiny: int
    forced: int
    heading: int

    def room(self, key: int) -> int:
        """The weight that the stretch around a boundary may have without a cut."""
        if key < self.forced:
            return -1
        return self.tiny if key < self.heading else self.limit


def choose(keys: Sequence[int], totals: Sequence[int], rules: Rules) -> list[int]:
    """The atoms that begin a part, in order, 0 first.

    `keys[i]` belongs to the boundary before atom i, `totals[i]` is the weight of the atoms before i (one longer than
    the atoms).
    """
    if not keys:
        return []
    cuts = _strongest(keys, totals, rules)
    for _ in range(JOIN_ROUNDS):
        cuts = _joined(cuts, keys, totals, rules)
    return _without_empty(cuts, totals)


def _strongest(keys: Sequence[int], totals: Sequence[int], rules: Rules) -> list[int]:
    before, after, twin = _stretches(keys)
    last_cut: dict[int, int] = {}
    cuts = [0]
    for index in range(1, len(keys)):
        room = rules.room(keys[index])
        first, end = before[index], after[index]
        if totals[end] - totals[first] <= room:
            continue
        # Boundaries of equal key (the same words over and over) share a stretch: it is filled from the left.
        group = (first << 32) | end
        if totals[twin[index] or end] - totals[last_cut.get(group, first)] > room:
            last_cut[group] = index
            cuts.append(index)
    return cuts


def _stretches(keys: Sequence[int]) -> tuple[array[int], array[int], array[int]]:
    """For each boundary the nearest stronger ones on both sides, and the next one of equal key between them (0:
    none)."""
    count = len(keys)
    before = array("q", bytes(8 * count))
    after = array("q", [count]) * count
    twin = array("q", bytes(8 * count))
    open_ones: list[int] = []
    for index in range(1, count):
        key = keys[index]
        while open_ones and keys[open_ones[-1]] > key:
            after[open_ones.pop()] = index
        if open_ones:
            top = open_ones[-1]
            if keys[top] == key:
                twin[top] = index
                before[index] = before[top]
            else:
                before[index] = top
        open_ones.append(index)
    return before, after, twin


def _joined(cuts: list[int], keys: Sequence[int], totals: Sequence[int], rules: Rules) -> list[int]:
    """Without those cuts whose two sides may be one and which are weaker than the neighbouring cuts of that sort."""
    # What a cut would be removed with: its key, or -1 where it has to stay. Both edges of the document are headings.
    removable = [-1] * (len(cuts) + 1)
    edges = [0, *(keys[cut] for cut in cuts[1:]), 0]
    places = [*(totals[cut] for cut in cuts), totals[-1]]
    for place in range(1, len(cuts)):
        left, right = places[place] - places[place - 1], places[place + 1] - places[place]
        if edges[place] < rules.forced or left + right > rules.limit:
            continue
        if edges[place] >= rules.heading:
            joins = min(left, right) < rules.small
        else:
            joins = (left < rules.tiny and edges[place - 1] < rules.heading) or (
                right < rules.tiny and edges[place + 1] < rules.heading
            )
        if joins:
            removable[place] = edges[place]
    kept = [0]
    for place in range(1, len(cuts)):
        key = removable[place]
        if key < 0 or key < removable[place - 1] or key <= removable[place + 1]:
            kept.append(cuts[place])
    return kept


def _without_empty(cuts: list[int], totals: Sequence[int]) -> list[int]:
    """Parts without weight (the model reads nothing in them) join the part before, those at the head the part
    after."""
    ends = [*cuts[1:], len(totals) - 1]
    kept = [cut for cut, end in zip(cuts, ends, strict=True) if totals[end] > totals[cut]]
    if kept:
        kept[0] = 0
    return kept
