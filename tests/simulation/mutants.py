"""One deliberate defect per rule of the protocol. Each has to be caught, or the simulator could not see it in real code."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Killed:
    """How a hunt ended. by: the invariant that caught it, None where it survived."""

    name: str
    histories: int
    by: str | None


@dataclass(frozen=True, slots=True)
class Mutant:
    """A defect."""

    name: str


MUTANTS: dict[str, Mutant] = {}


def hunt(mutant: Mutant) -> Killed:
    """Run histories until one is caught."""
    return Killed(mutant.name, 0, None)
