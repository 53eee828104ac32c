"""One history from its plan: build the world, let everybody act, end it, judge it."""

import asyncio
import contextlib
import gc
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from bloomweaver.domain.documents import Ordering
from bloomweaver.testing import loop
from tests.simulation import clients, ending, histories, oracle, people, plans, world

TENANTS = ("acme", "bolt")
COLLECTION = "docs"
OTHER = "notes"
AFTER_SECONDS = 400.0
ENDINGS = 10


@dataclass(slots=True)
class Result:
    """What came out of one history. hash: of everything that happened, in order."""

    seed: int
    violations: list[histories.Violation]
    counts: Counter[str]
    hash: int
    turns: int
    virtual_seconds: float
    operations: int
    searches: int
    history: histories.History = field(default_factory=histories.History)


def run(
    plan: plans.Plan, *, tell: Callable[..., None] | None = None, prepare: Callable[[Any], None] | None = None
) -> Result:
    """Simulate one history. prepare: changes the world before anything starts (a mutant). tell: sees every event."""
    history = histories.History()
    world_ = world.World(plan, history=history, trace=tell)
    if prepare is not None:
        prepare(world_)
    gc.disable()
    try:
        asyncio.set_event_loop(None)
        world_.loop.set_exception_handler(world_.unhandled)
        world_.loop.run_until_complete(_live(world_))
    except (loop.Deadlock, loop.Killed) as error:
        history.violated("I0", world_.loop.time(), f"the history could not go on: {error!r}")
    finally:
        dispose(world_)
        gc.enable()
    violations = oracle.Oracle(history).judge()
    return Result(
        plan.seed,
        violations,
        _counted(world_),
        world_.hash,
        world_.loop.turns,
        world_.loop.time(),
        len(history.operations),
        len(history.searches),
        history,
    )


async def _live(world_: world.World) -> None:
    plan = world_.plan
    world_.deployment = await world_.database.registry.deployment()
    for index, tenant in enumerate(TENANTS):
        ordering = Ordering.SOURCE if plan.source_ordered[index] else Ordering.ARRIVAL
        await world_.make_collection(tenant, COLLECTION, ordering=ordering)
        if plan.two_collections:
            await world_.make_collection(tenant, OTHER, ordering=ordering)
    for name in world_.roles:
        world_.start(name)
    crowd = [asyncio.create_task(work) for work in _crowd(world_)]
    weather = asyncio.create_task(_weather(world_))
    await asyncio.gather(*crowd)
    weather.cancel()
    if not plan.bounded:
        await ending.resolve(world_)
        await ending.check_events(world_)
        return
    await ending.settle(world_)
    await ending.resolve(world_)
    await ending.check_events(world_)
    await ending.check_convergence(world_)
    await ending.clean_up(world_)
    await ending.check_stores(world_)
    await ending.check_blobs(world_)
    await ending.check_erasure(world_)
    if plan.purged:
        await ending.purge(world_)


def _crowd(world_: world.World) -> list[Coroutine[Any, Any, None]]:
    plan, found = world_.plan, []
    for index, tenant in enumerate(TENANTS):
        rng = random.Random(f"crowd/{plan.seed}/{tenant}")
        ordering = Ordering.SOURCE if plan.source_ordered[index] else Ordering.ARRIVAL
        for number in range(plan.documents):
            place = histories.Place(tenant, COLLECTION, f"d{number}")
            found.append(clients.Writer(world_, place, source_ordered=plan.source_ordered[index]).run())
        searches = plan.searches // 2 if plan.two_collections else plan.searches
        found.append(people.searcher(world_, tenant, (COLLECTION,), number=searches, rng=rng))
        if plan.two_collections:
            place, both = histories.Place(tenant, OTHER, f"{OTHER}0"), (COLLECTION, OTHER)
            found.append(clients.Writer(world_, place, source_ordered=plan.source_ordered[index]).run())
            rng = random.Random(f"both/{plan.seed}/{tenant}")
            found.append(people.searcher(world_, tenant, both, number=searches, rng=rng))
            rng = random.Random(f"crowd/{plan.seed}/{tenant}")
        for _ in range(rng.choice([1, 2]) if plan.reindexes and (index == 0 or rng.random() < 0.3) else 0):
            rng = random.Random(rng.random())
            found.append(people.Operator(world_, tenant, COLLECTION, ordering=ordering, rng=rng).run())
    rng = random.Random(f"operators/{plan.seed}")
    if plan.remade_collection:
        ordering = Ordering.SOURCE if plan.source_ordered[1] else Ordering.ARRIVAL
        found.append(people.remake(world_, TENANTS[1], COLLECTION, ordering=ordering, rng=rng))
    if plan.lost_blobs:
        found.append(people.blob_thief(world_, rng=rng))
    if plan.fate_share and plan.redrives:
        found.append(people.redriver(world_, rng=rng))
    return found


async def _weather(world_: world.World) -> None:
    """Cold windows: all embedders of a space are scaled to zero for minutes. Outages are watched for the oracle."""
    plan = world_.plan
    world_.history.outages.extend((b, e) for port, b, e in plan.outages if port == "ledger")
    moments = [(begins, "stop", number) for number, begins, _ in plan.cold]
    moments += [(ends, "resume", number) for number, _, ends in plan.cold]
    for at, what, number in sorted(moments):
        await asyncio.sleep(max(0.0, at - world_.loop.time()))
        for name in list(world_.roles):
            if name.startswith(f"embedder-{number}"):
                (world_.stop if what == "stop" else world_.resume)(name)


def _counted(world_: world.World) -> Counter[str]:
    counts = Counter(world_.chaos.counts)
    for service in world_.searchers:
        counts["search_retry"] += service.counters.retries
        counts["search_give_up"] += service.counters.refusals
        counts["search_dropped"] += service.counters.dropped
    for encoder in world_.batchers:
        counts["embed_failures"] += sum(figures.failures_total for figures in encoder.figures().values())
    return counts


def dispose(world_: world.World) -> None:
    """Nothing of a history is left to the next one."""
    world_.kill_all()
    for _ in range(ENDINGS):  # what ends may begin something
        left = asyncio.all_tasks(world_.loop)
        for task in left:
            task.cancel()
        with contextlib.suppress(loop.Deadlock):
            world_.loop.run_until_complete(_turns(20))
        if not left:
            break
    world_.loop.close()
    world_.close()


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def quiet() -> None:
    """Production's log lines are of no use here, and cost more than what they tell of."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
