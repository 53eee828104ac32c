"""What one history is made of, all drawn from its seed: which faults, how many, which clients, which operators.

Every fault is switched on in some histories and off in others (swizzling), so that each is met alone, in pairs and in
crowds. About a third of the histories never calm down and are judged by safety alone.
"""

import random
from dataclasses import dataclass, field, replace

from bloomweaver.testing import chaos
from tests.simulation import histories

QUERY = "alpha beta gamma"


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of one history. Times are virtual seconds.

    bounded: the faults end, and everything has to converge. cold: (space number, begins, ends) without embedders.
    releases: which revisions the embedders of one space can run, one entry per process. large_share: texts that do not
    fit into the ledger, so that they are stored as blobs. positions: the store tells what a reader has seen; one that
    does not has to lag for all readers alike. purged: a month passes in the end, after which nothing of what was
    deleted is left.
    """

    seed: int
    bounded: bool = True
    active_seconds: float = 900.0
    rates: chaos.Rates = field(default_factory=chaos.Rates)
    outages: tuple[tuple[str, float, float], ...] = ()
    cold: tuple[tuple[int, float, float], ...] = ()
    documents: int = 2
    operations: int = 4
    searches: int = 14
    delete_share: float = 0.2
    resend_share: float = 0.2
    source_ordered: tuple[bool, bool] = (False, True)
    reordering_seconds: float = 60.0
    fate_share: float = 0.0
    fates: tuple[histories.Fate, ...] = tuple(histories.Fate)
    reindexes: int = 0
    soak_seconds: float = 120.0
    remade_collection: bool = False
    releases: tuple[frozenset[str], ...] = (frozenset({"1"}), frozenset({"1"}))
    skew_seconds: float = 0.0
    replicas: int = 1
    reconcilers: int = 1
    round_seconds: float = 60.0
    sweep_seconds: float = 600.0
    lost_blobs: int = 0
    patches: bool = True
    again_share: float = 0.12
    large_share: float = 0.0
    client_patience_seconds: float = 30.0
    two_collections: bool = False
    positions: bool = True
    purged: bool = False
    redrives: bool = True


SAFE = chaos.Rates(latency_seconds=0.01)


def calm(seed: int) -> Plan:
    """No fault at all."""
    return Plan(seed, rates=SAFE, replicas=0)


def drawn(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"plan/{seed}")
    active = rng.choice([400.0, 700.0, 1000.0])
    plan = Plan(
        seed,
        bounded=rng.random() < 0.7,
        active_seconds=active,
        rates=_rates(rng),
        outages=_outages(rng, active),
        cold=_cold(rng, active),
        documents=rng.choice([1, 2, 2, 3]),
        operations=rng.randint(2, 6),
        searches=rng.choice([10, 14, 20]),
        delete_share=rng.choice([0.1, 0.25, 0.4]),
        resend_share=rng.choice([0.0, 0.2, 0.4]),
        source_ordered=(rng.random() < 0.5, rng.random() < 0.5),
        reordering_seconds=rng.choice([1.0, 60.0, 200.0]),
        fate_share=rng.choice([0.0, 0.0, 0.0, 0.15]),
        replicas=rng.choice([0, 1, 1, 2]),
        reconcilers=rng.choice([1, 1, 2]),
        round_seconds=rng.choice([40.0, 60.0, 90.0]),
        sweep_seconds=rng.choice([300.0, 900.0, 86_400.0]),
        skew_seconds=rng.choice([0.0, 0.0, 240.0]),
        lost_blobs=rng.choice([0, 0, 0, 3]),
        large_share=rng.choice([0.0, 0.0, 0.3]),
    )
    if rng.random() < 0.02:
        plan = _hot(plan)
    return _with_stores(_with_operators(plan, rng), rng)


def _with_stores(plan: Plan, rng: random.Random) -> Plan:
    positions = rng.random() < 0.75
    return replace(
        plan,
        positions=positions,
        replicas=plan.replicas if positions else min(plan.replicas, 1),
        two_collections=rng.random() < 0.3,
        purged=rng.random() < 0.4,
    )


def _hot(plan: Plan) -> Plan:
    """Documents that change all the time under searches that are slow, until these give up."""
    rates = replace(plan.rates, before_rows=0.9, before_rows_seconds=60.0)
    return replace(plan, rates=rates, operations=16, documents=2, active_seconds=400.0, cold=(), delete_share=0.05)


def _with_operators(plan: Plan, rng: random.Random) -> Plan:
    releases = rng.choice(
        [
            (frozenset({"1"}), frozenset({"1"})),
            (frozenset({"1"}), frozenset({"1", "2"})),
            (frozenset({"1", "2"}), frozenset({"2"})),
        ]
    )
    return replace(
        plan,
        reindexes=rng.choice([0, 0, 1, 2, 3]),
        soak_seconds=rng.choice([20.0, 120.0, 400.0]),
        remade_collection=rng.random() < 0.25,
        releases=releases,
    )


def _rates(rng: random.Random) -> chaos.Rates:
    heavy = rng.choice([0.3, 1.0, 1.0, 2.0])

    def some(rate: float, *, share: float = 0.6) -> float:
        return rate * heavy if rng.random() < share else 0.0

    return chaos.Rates(
        latency_seconds=rng.choice([0.002, 0.05, 0.5]),
        slow=some(0.01),
        slow_seconds=rng.choice([20.0, 60.0]),
        crash=some(0.01),
        restart_seconds=rng.choice([1.0, 30.0]),
        freeze=some(0.003),
        throttle=some(0.02),
        lost_answer=some(0.01),
        hint_lost=some(0.05),
        hint_doubled=some(0.1),
        hint_delayed=some(0.1),
        hint_delay_seconds=rng.choice([10.0, 120.0, 400.0]),
        late_write=some(0.04),
        late_seconds=rng.choice([20.0, 400.0]),
        partial_write=some(0.2),
        blob_absent=some(0.03, share=0.4),
        lag_seconds=rng.choice([0.0, 0.3, 4.0]),
        before_rows=some(0.25, share=0.5),
        before_rows_seconds=rng.choice([5.0, 90.0]),
    )


def _outages(rng: random.Random, active: float) -> tuple[tuple[str, float, float], ...]:
    """Links go one by one and come back in another order."""
    found = []
    for port in ("ledger", "blobs", "queues", "vectors"):
        if rng.random() < 0.3:
            begins = rng.random() * active
            found.append((port, begins, begins + rng.random() * 90.0))
    return tuple(found)


def _cold(rng: random.Random, active: float) -> tuple[tuple[int, float, float], ...]:
    found = []
    for _ in range(rng.choice([0, 1, 2])):
        begins = rng.random() * active * 0.7
        found.append((rng.randrange(2), begins, begins + rng.uniform(60.0, 360.0)))
    return tuple(found)


def forgetful(seed: int) -> Plan:
    """Many deletes, many late and repeated sends, few faults: what a short memory cannot stand."""
    return replace(
        drawn(seed),
        source_ordered=(True, True),
        delete_share=0.4,
        operations=8,
        again_share=0.4,
        reordering_seconds=200.0,
        round_seconds=10.0,
        rates=SAFE,
        outages=(),
        lost_blobs=0,
        active_seconds=700.0,
    )


def overtaking(seed: int) -> Plan:
    """Deletes that come after what was sent later, while the embedders sleep: the old text has to go at once."""
    cold = tuple((number, begins, begins + 200.0) for number in (0, 1) for begins in (150.0, 500.0))
    return replace(forgetful(seed), again_share=0.0, operations=10, cold=cold, searches=40)


def zombies(seed: int) -> Plan:
    """As `forgetful`, with hints that come long after."""
    rates = chaos.Rates(hint_doubled=0.6, hint_delay_seconds=600.0)
    return replace(forgetful(seed), rates=rates)


def busy(seed: int) -> Plan:
    """A store that lags and searches that are slow between asking it and asking the ledger."""
    plan = drawn(seed)
    return replace(plan, replicas=2, rates=replace(plan.rates, lag_seconds=8.0), searches=30)


def unpositioned(seed: int) -> Plan:
    """As `busy`, in a store that does not tell what a reader has seen."""
    return replace(busy(seed), positions=False, replicas=1)


def mixed(seed: int) -> Plan:
    """Two releases at once for hours: most workers cannot run the pipeline, those that can die of the texts."""
    old, new = frozenset({"1"}), frozenset({"1", "2"})
    return replace(
        drawn(seed),
        bounded=False,
        active_seconds=9000.0,
        rates=chaos.Rates(latency_seconds=0.05, restart_seconds=1.0),
        outages=(),
        cold=(),
        documents=1,
        operations=6,
        searches=2,
        delete_share=0.0,
        again_share=0.0,
        resend_share=0.0,
        fate_share=0.7,
        fates=(histories.Fate.KILLER,),
        redrives=False,
        reindexes=3,
        soak_seconds=20.0,
        remade_collection=False,
        releases=(old, old, new),
        lost_blobs=0,
        large_share=0.0,
        two_collections=False,
    )


def reindexing(seed: int) -> Plan:
    """Re-indexes all the time."""
    plan = drawn(seed)
    return replace(plan, reindexes=3, soak_seconds=20.0, operations=6, bounded=True)


def editing(seed: int) -> Plan:
    """Re-indexes all the time, and edits in the middle of each."""
    rates = replace(SAFE, latency_seconds=2.0)
    return replace(reindexing(seed), operations=20, active_seconds=400.0, rates=rates)
