"""Filters and metadata in great variety, the same at every run, for stores that have to mean what the domain says."""

import random

from bloomweaver.domain import filters, metadata

FIELDS = ("a", "b", "c")
_TEXTS = ("x", "y", "", "ü", "1", "true")


def documents(count: int, *, seed: int = 0) -> list[dict[str, metadata.Value]]:
    """Metadata with some fields missing, of any type, and the same name of several types."""
    chance = random.Random(seed)
    return [{field: _value(chance) for field in FIELDS if chance.random() < 0.7} for _ in range(count)]


def trees(count: int, *, seed: int = 0) -> list[filters.Filter]:
    """Filters of every operator, up to three levels deep."""
    chance = random.Random(seed)
    return [_tree(chance, 3) for _ in range(count)]


def _tree(chance: random.Random, levels: int) -> filters.Filter:
    if levels == 0 or chance.random() < 0.4:
        return _condition(chance)
    kind = chance.choice(("not", "all", "any"))
    if kind == "not":
        return filters.Not(_tree(chance, levels - 1))
    parts = tuple(_tree(chance, levels - 1) for _ in range(chance.randint(1, 3)))
    return filters.All(parts) if kind == "all" else filters.AnyOf(parts)


def _condition(chance: random.Random) -> filters.Condition:
    field = chance.choice(FIELDS)
    kind = chance.choice(("one", "list", "order", "exists"))
    if kind == "exists":
        return filters.Condition(field, "$exists", (chance.random() < 0.5,))
    if kind == "order":
        return filters.Condition(
            field, chance.choice(("$gt", "$gte", "$lt", "$lte")), (chance.choice((-1, 0, 0.5, 2)),)
        )
    if kind == "list":
        values = tuple(_scalar(chance) for _ in range(chance.randint(0, 3)))
        return filters.Condition(field, chance.choice(("$in", "$nin")), values)
    return filters.Condition(field, chance.choice(("$eq", "$ne")), (_scalar(chance),))


def _scalar(chance: random.Random) -> filters.Scalar:
    return chance.choice((chance.choice(_TEXTS), chance.choice((-1, 0, 1, 2)), 0.5, 1.0, True, False))


def _value(chance: random.Random) -> metadata.Value:
    if chance.random() < 0.25:
        return tuple(chance.choice(_TEXTS) for _ in range(chance.randint(0, 2)))
    return _scalar(chance)
