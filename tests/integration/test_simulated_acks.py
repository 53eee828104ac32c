"""What an ack is excused by in the simulator: a generation that changed since the look, if the change brings others."""

from dataclasses import replace

import pytest

from bloomweaver.adapters.registry import sqlite_generations
from bloomweaver.domain.documents import Ordering
from bloomweaver.domain.events import Hint, Lane
from bloomweaver.domain.identity import Pipe, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger, queues
from bloomweaver.testing import clocks, loop
from bloomweaver.testing.contracts import world as contracts
from tests.simulation import histories, mutants, plans, simulate, world

TENANT = TenantId("acme")
FORGETFUL = mutants.Mutant(
    "no scan after a change of generation",
    lambda: [
        (
            sqlite_generations,
            "_SAVE",
            "UPDATE collection SET epoch = ?, active = ?, building = ?, previous = ?, previous_until = ? WHERE cid = ?",
        )
    ],
)


def test_an_ack_across_a_roll_back_is_excused_because_the_reconciler_comes():
    assert told_of(look_before_the_roll_back=True) == []


def test_an_ack_across_a_roll_back_after_which_nobody_comes_is_a_violation():
    with mutants.alive(FORGETFUL):
        assert told_of(look_before_the_roll_back=True) == ["I12"]


def test_an_ack_by_a_look_that_saw_the_new_generation_is_a_violation():
    assert told_of(look_before_the_roll_back=False) == ["I12"]


@pytest.mark.parametrize("name", ["look", "needed"])
def test_an_ack_without_a_change_of_generation_is_a_violation(name):
    history = histories.History()
    run(history, lambda world_: acked_undone(world_, read=name))

    assert [violation.invariant for violation in history.violations] == ["I12"]


def told_of(*, look_before_the_roll_back: bool) -> list[str]:
    """The violations of a worker that looks at a document and acks its hint, and of a roll-back before or after."""
    history = histories.History()
    run(history, lambda world_: acked_across_a_roll_back(world_, look_before=look_before_the_roll_back))
    return [violation.invariant for violation in history.violations]


def run(history, scene):
    simulate.quiet()
    world_ = world.World(plans.calm(1), history=history)
    try:
        world_.loop.run_until_complete(scene(world_))
    finally:
        simulate.dispose(world_)


async def acked_across_a_roll_back(world_, *, look_before):
    """The document failed in the previous pipeline, so that it needs nothing there until that one is active again."""
    database, first = world_.database, world.first_pipeline()
    second = replace(first, pipe=Pipe("5ec0d" + first.pipe[5:]), space=world.SPACES[1], model=world.SPECS[1].name)
    document = await opened(world_)
    seq = await document.put("one")
    await document.index(seq, pipe=first.pipe)
    await document.build(second)
    await document.index(seq, pipe=second.pipe)
    await document.promote()
    newer = await document.put("two")
    failure = ledger.Failure(document.key(), newer, first.pipe, Reason.EMBEDDING_FAILED, "", permanent=True)
    await database.ledger.fail(failure)
    assert (await document.index(newer, pipe=second.pipe)).flipped
    await database.healing.stuck(limit=100, empty_lanes=frozenset({f"change:{space}" for space in world.SPACES}))

    host = loop.Host("embedder", loop=world_.loop)
    ledger_, registry = world_._database(host, "ledger"), world_._database(host, "registry")
    if look_before:
        await ledger_.needed([document.key()])
    moved = await registry.roll_back(document.collection.uid, epoch=await document.epoch(), force=True)
    assert moved.generation is not None
    if not look_before:
        await ledger_.needed([document.key()])
    await acked(world_, document, seq=newer, pipeline=first)


async def acked_undone(world_, *, read):
    document = await opened(world_)
    seq = await document.put("one")
    reader = world_._database(loop.Host("embedder", loop=world_.loop), "ledger")
    await getattr(reader, read)([document.key()])
    await acked(world_, document, seq=seq, pipeline=world.first_pipeline())


async def opened(world_):
    await world_.make_collection(TENANT, "docs", ordering=Ordering.ARRIVAL)
    collection = await world_.database.registry.collection(TENANT, "docs")
    return contracts.World(world_.database, clocks.ManualClock(), collection)


async def acked(world_, document, *, seq, pipeline):
    hint = Hint(TENANT, document.collection.uid, document.key().document_id, seq, pipeline.pipe)
    queue = queues.queue_name(Lane.CHANGE, pipeline.space)
    await world_.taps.acked("embedder", queue, [queues.Delivery(hint, "receipt", 1)])
