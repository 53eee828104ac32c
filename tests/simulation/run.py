"""The command line of the simulator: `python -m tests.simulation.run --help`.

It exits with 1 where a promise was broken, a mutant survived, the control was not caught, or something that has to
happen sometimes never did. The last line counts what passed and failed.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.simulation import coverage, mutants, naive, plans, simulate

CHUNK = 20
CONTROL_HISTORIES = 60
CONTROL_SHARE = 0.5
SHOWN_VIOLATIONS = 5


@dataclass(slots=True)
class Batch:
    """What some histories came to."""

    histories: int = 0
    operations: int = 0
    searches: int = 0
    turns: int = 0
    virtual_seconds: float = 0.0
    processor_seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, list[str]]] = field(default_factory=list)

    def add(self, other: "Batch") -> None:
        """Both together."""
        self.histories += other.histories
        self.operations += other.operations
        self.searches += other.searches
        self.turns += other.turns
        self.virtual_seconds += other.virtual_seconds
        self.processor_seconds += other.processor_seconds
        self.counts.update(other.counts)
        self.broken += other.broken


@dataclass(slots=True)
class Score:
    """What passed and what failed, one by one."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)

    def check(self, name: str, ok: bool) -> None:
        """One more."""
        if ok:
            self.passed += 1
        else:
            self.failures.append(name)
            print(f"FAILED: {name}", flush=True)


def histories(first: int, number: int) -> Batch:
    """Run some seeds; called in a worker process."""
    simulate.quiet()
    batch, began = Batch(), time.process_time()
    for seed in range(first, first + number):
        result = simulate.run(plans.drawn(seed))
        batch.histories += 1
        batch.operations += result.operations
        batch.searches += result.searches
        batch.turns += result.turns
        batch.virtual_seconds += result.virtual_seconds
        batch.counts.update(result.counts)
        if result.violations:
            batch.broken.append((seed, [str(v) for v in result.violations]))
    batch.processor_seconds = time.process_time() - began
    return batch


def mutant(name: str) -> mutants.Killed:
    """Hunt one mutant; called in a worker process."""
    simulate.quiet()
    return mutants.hunt(mutants.MUTANTS[name])


def control(first: int, number: int) -> int:
    """How many histories of the naive design are caught."""
    return sum(naive.caught(seed) for seed in range(first, first + number))


def replay(seed: int) -> int:
    """One history as a timeline that a person can read."""
    simulate.quiet()

    def tell(at: float, who: str, what: str, outcome: str) -> None:
        print(f"{at:10.2f} s  {who:<18} {what:<44} {outcome}")

    plan = plans.drawn(seed)
    print(plan)
    result = simulate.run(plan, tell=tell)
    print(f"\n{result.operations} operations, {result.searches} searches, trace {result.hash:08x}")
    for name, number in sorted(result.counts.items()):
        print(f"  {name:<32} {number}")
    for violation in result.violations:
        print(f"VIOLATION {violation}")
    print(f"{int(not result.violations)} passed, {int(bool(result.violations))} failed")
    return int(bool(result.violations))


def _seeds(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """(first seed, how many), without an end where time is the limit."""
    first, left = options.first, options.histories
    while left is None or left > 0:
        number = CHUNK if left is None else min(CHUNK, left)
        yield first, number
        first += number
        left = None if left is None else left - number


def _run_histories(
    pool: concurrent.futures.Executor, options: argparse.Namespace, *, deadline: float | None, minimum: int
) -> Batch:
    """All the seeds, or as many as fit before the deadline; a busy machine runs over it until it has the minimum."""
    total, seeds, begun = Batch(), _seeds(options), 0
    waiting: set[concurrent.futures.Future[Batch]] = set()
    while True:
        while len(waiting) < options.jobs and (deadline is None or begun < minimum or time.monotonic() < deadline):
            following = next(seeds, None)
            if following is None:
                break
            begun += following[1]
            waiting.add(pool.submit(histories, *following))
        if not waiting:
            return total
        done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            total.add(future.result())


def _check_mutants(pool: concurrent.futures.Executor, score: Score) -> list[mutants.Killed]:
    print("mutants: each has to be caught", flush=True)
    found = []
    for killed in pool.map(mutant, mutants.MUTANTS):
        found.append(killed)
        how = f"killed after {killed.histories:4d} histories by {killed.by}" if killed.by else "SURVIVED"
        print(f"  {killed.name:<34} {how}", flush=True)
        score.check(f"mutant {killed.name} survived {killed.histories} histories", killed.by is not None)
    return found


def _check_control(pool: concurrent.futures.Executor, score: Score) -> int:
    half = CONTROL_HISTORIES // 2
    caught = sum(pool.map(control, (1, 1 + half), (half, half)))
    print(f"control: the naive four-queue design was caught in {caught} of {CONTROL_HISTORIES} fault-free histories")
    score.check("the control was not caught often enough", caught > CONTROL_SHARE * CONTROL_HISTORIES)
    return caught


def _report(total: Batch, options: argparse.Namespace, score: Score) -> None:
    for seed, violations in total.broken[:SHOWN_VIOLATIONS]:
        print(f"\nseed {seed} broke a promise; replay it with: make sim SEED={seed}")
        for violation in violations[:SHOWN_VIOLATIONS]:
            print(f"  {violation}")
    if total.broken:
        print("\nall seeds with violations:")
        for seed, violations in total.broken:
            print(f"  {seed}: {' '.join(sorted({violation.partition(' ')[0] for violation in violations}))}")
    print("\nsometimes:")
    for name in sorted(total.counts.keys() | coverage.SOMETIMES):
        print(f"  {name:<34} {total.counts[name]}")
    floor = options.coverage_floor
    if floor is None:
        floor = total.histories // coverage.HISTORIES_PER_OCCURRENCE
    for name in sorted(coverage.SOMETIMES):
        if floor > 0:
            score.check(f"{name} happened {total.counts[name]} times, at least {floor}", total.counts[name] >= floor)
    embeddings = coverage.embeddings_per_put(total.counts)
    score.check(f"I13: {embeddings:.2f} embeddings per accepted text, at most 2", embeddings <= 2.0)
    counts, rate = total.counts, total.histories / max(total.processor_seconds, 1e-9)
    crashes = sum(number for name, number in counts.items() if name.startswith("crash_"))
    print(
        f"\n{total.histories} histories, {total.turns} events, {total.operations} operations,"
        f" {total.searches} searches, {crashes} crashes, {counts['freeze']} freezes,"
        f" {counts['hint_doubled']} doubled, {counts['hint_lost']} lost,"
        f" {counts['late_write']} late writes, {counts['promoted']} promotions, {counts['dead_letter']} dead letters,"
        f" {embeddings:.2f} embeddings per text, {total.virtual_seconds / 86400:.0f} virtual days,"
        f" {len(total.broken)} histories with violations, {rate:.1f} histories/s/core"
    )


def _ran(total: Batch, options: argparse.Namespace) -> str:
    """How far it came: which seeds were run, of how many that were asked for."""
    asked = "" if options.histories is None else f" of {options.histories}"
    last = options.first + total.histories - 1
    return f"ran {total.histories}{asked} histories, seeds {options.first} to {last}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--histories", type=int, help="how many seeds to run")
    parser.add_argument("--seconds", type=float, help="run seeds for that long instead")
    budget = "mutants, control and seeds together, in that time; with --histories the seeds alone, as many as fit"
    parser.add_argument("--budget-seconds", type=float, help=budget)
    parser.add_argument("--minimum", type=int, default=2000, help="seeds to run also where a budget is too small")
    parser.add_argument("--seed", type=int, help="replay one history")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mutants", action="store_true", help="check that every mutant is caught")
    parser.add_argument("--control", action="store_true", help="check that the naive design is caught")
    parser.add_argument("--coverage-floor", type=int, help="fail where something happened less often than this")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Do what was asked; the exit status."""
    options = _options(arguments)
    if options.seed is not None:
        return replay(options.seed)
    began, score, figures = time.monotonic(), Score(), dict[str, Any]()
    budgeted = options.budget_seconds is not None and options.histories is None
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        if options.control or budgeted:
            figures["control_caught"] = _check_control(pool, score)
        if options.mutants or budgeted:
            figures["mutants"] = {k.name: k.histories for k in _check_mutants(pool, score)}
        limit = options.seconds if options.budget_seconds is None else options.budget_seconds
        if limit is not None or options.histories:
            deadline = None if limit is None else began + limit
            minimum = options.minimum if budgeted else 0
            total = _run_histories(pool, options, deadline=deadline, minimum=minimum)
            score.passed += total.histories - len(total.broken)
            score.failures += [f"seed {seed}" for seed, _ in total.broken]
            _report(total, options, score)
            print(_ran(total, options))
            figures |= {"histories": total.histories, "violations": len(total.broken), "turns": total.turns}
            figures |= {"histories_per_second_and_core": total.histories / max(total.processor_seconds, 1e-9)}
            figures |= {"counts": dict(sorted(total.counts.items()))}
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{score.passed} passed, {len(score.failures)} failed")
    return int(bool(score.failures))


if __name__ == "__main__":
    sys.exit(main())
